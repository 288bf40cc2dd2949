"""The commands of pipelines, and what they add to `penstock doctor`."""
