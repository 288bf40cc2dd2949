"""How long to wait before trying again."""

from __future__ import annotations

import random


class Backoff:
    """Doubling waits with full jitter, in seconds: short first, never above `most`."""

    def __init__(self, first: float = 0.1, most: float = 30.0) -> None:
        self._first = first
        self._most = most
        self._tries = 0

    def next(self) -> float:
        """The next wait, drawn from 0.5 to 1 times a bound that doubles."""
        bound = min(self._most, self._first * 2.0**self._tries)
        self._tries += 1
        return bound * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Begin again with the shortest wait."""
        self._tries = 0
