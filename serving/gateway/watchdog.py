"""The watchdog: finds workers that have not answered a batch for too long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from serving.link import GatewayEnd

#: Seconds between two looks that count at most. A gateway that was itself stopped, or starved, has
#: not read the answers that came meanwhile, and must not take healthy workers for hung.
LONGEST_LOOK = 1.0


class Watchdog:
    """Measures how long the oldest batch of each link is out; `limit` seconds are too long."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._last: float | None = None
        #: For each link: the sequence of its oldest batch, and the seconds that it was seen out.
        self._out: dict[GatewayEnd[Any], tuple[int, float]] = {}

    def look(self, links: Iterable[GatewayEnd[Any]], now: float) -> list[GatewayEnd[Any]]:
        """Those of `links` that hang, each told once as long as it is among them."""
        passed = 0.0 if self._last is None else min(now - self._last, LONGEST_LOOK)
        self._last = now
        before, self._out = self._out, {}
        hung = []
        for link in links:
            if not link.loans:
                continue
            sequence = link.loans[0].sequence
            known, seconds = before.get(link, (sequence, 0.0))
            seconds = seconds + passed if known == sequence and link in before else 0.0
            self._out[link] = (sequence, seconds)
            if seconds >= self._limit:
                hung.append(link)
        return hung
