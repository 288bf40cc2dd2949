"""Runners: where the jobs of a pipeline run. One protocol, one contract suite, see docs/runners.md.

Nothing is imported here: the job shim loads modules of this package with the standard library only.
"""
