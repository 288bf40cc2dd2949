"""The pace: how fast a model may change, however fast its alias does."""

from __future__ import annotations

from collections import deque

#: A burst of changes is waited for at most this many times `quiescence`.
PATIENCE = 4


class Pace:
    """Says how long to wait before the newest change is followed.

    A change after a quiet time is followed at once. Those that come within `quiescence` seconds of
    another wait until that long nothing changed, so that of a burst only the last one counts. At
    most `swaps` changes are followed in `period` seconds; 0 swaps: any number.
    """

    def __init__(self, quiescence: float, swaps: int, period: float) -> None:
        self._quiescence = quiescence
        self._period = period
        self._limit = swaps
        self._changed: float | None = None
        self._burst = 0.0
        self._quiet = 0.0
        self._swaps: deque[float] = deque()

    def changed(self, now: float) -> None:
        """The alias has changed."""
        if self._changed is None or now - self._changed >= self._quiescence:
            self._burst = self._quiet = now
        else:
            self._quiet = min(now + self._quiescence, self._burst + PATIENCE * self._quiescence)
        self._changed = now

    def swapped(self, now: float) -> None:
        """A change was followed."""
        self._swaps.append(now)

    def wait(self, now: float, *, cheap: bool = False) -> float:
        """Seconds until the newest change may be followed; a `cheap` one need not be the last."""
        while self._swaps and self._swaps[0] <= now - self._period:
            self._swaps.popleft()
        due = 0.0
        if self._limit and len(self._swaps) >= self._limit:
            due = self._swaps[-self._limit] + self._period
        return max(0.0, (due if cheap else max(self._quiet, due)) - now)
