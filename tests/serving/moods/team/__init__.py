"""Use cases that only services of the tests know."""
