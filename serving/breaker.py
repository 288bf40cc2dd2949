"""The breaker: tells a generation whose workers cannot live from one that loses a worker at times."""

from __future__ import annotations

from collections import deque


class Breaker:
    """Opens when `deaths` workers in a row ended within `window` seconds without any use.

    A worker that has answered a batch was of use, so kills from outside, memory limits and single
    poisonous rows, which leave other batches answered, never open it. With 0 `deaths` it stays shut.
    """

    def __init__(self, deaths: int, window: float) -> None:
        self.open = False
        self._limit = deaths
        self._window = window
        self._deaths: deque[float] = deque()

    def died(self, now: float) -> bool:
        """Count the end of a worker that was of no use; whether the breaker is open now."""
        self._deaths.append(now)
        while self._deaths[0] < now - self._window:
            self._deaths.popleft()
        if self._limit and len(self._deaths) >= self._limit:
            self.open = True
        return self.open

    def answered(self) -> None:
        """A worker has answered a batch: begin again."""
        self.open = False
        self._deaths.clear()
