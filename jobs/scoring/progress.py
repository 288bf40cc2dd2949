"""How far a scoring is: drawn on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry.command import Console

#: Seconds between two plain lines.
EVERY = 10.0


class Progress:
    """Tells `console` of rows, rate and the time that is left."""

    def __init__(self, console: Console, every: float = EVERY) -> None:
        self._console, self._every = console, every
        self._started = self._told = time.monotonic()
        self._first: int | None = None

    def show(self, done: int, total: int) -> None:
        """`done` of `total` rows are done, those of an earlier call at once."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._started = done, now
        spent = now - self._started
        rate = (done - self._first) / spent if spent > 0 else 0.0
        pace = f" ({rate:,.0f} a second, {_left(total - done, rate)} left)" if rate else ""
        self._console.progress(f"rows scored{pace}", done, total)
        if now - self._told >= self._every and not sys.stderr.isatty():
            self._console.note(f"rows scored{pace}: {done:,} of {total:,}")
            self._told = now


def _left(rows: int, rate: float) -> str:
    seconds = round(rows / rate)
    minutes, hours = seconds // 60, seconds // 3600
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
