"""The commands of the registry; those of pipelines, jobs and serving live in these packages."""
