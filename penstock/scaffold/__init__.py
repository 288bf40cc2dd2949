"""A new use case: a folder of the team's own, from a sample or from a file of theirs."""
