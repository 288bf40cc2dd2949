"""A team's own code: one folder for each use case."""
