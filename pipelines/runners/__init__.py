"""Runners: where the jobs of a pipeline run. One protocol, one contract suite; docs/runners.md."""
