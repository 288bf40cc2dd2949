"""Probation: whether the first requests of a new model went well enough to keep it."""

from __future__ import annotations


class Probation:
    """Adds up what the gateways report about the first `requests` of a generation.

    It failed as soon as more of them are bad than `share` allows, whatever the rest will be. So a few
    bad requests out of few are no verdict, and no request after the first ones is.
    """

    def __init__(self, requests: int, share: float) -> None:
        self._limit = requests
        self._allowed = share * requests
        self.requests = 0
        self.bad = 0

    def report(self, requests: int, bad: int) -> None:
        """Take a report, unless the verdict is spoken."""
        if not self.over:
            self.requests += requests
            self.bad += bad

    @property
    def failed(self) -> bool:
        """Whether the model must go."""
        return self.bad > self._allowed

    @property
    def over(self) -> bool:
        """Whether there is nothing more to see."""
        return self.failed or self.requests >= self._limit

    def __str__(self) -> str:
        return f"{self.bad} of its first {self.requests} requests failed or were too slow"
