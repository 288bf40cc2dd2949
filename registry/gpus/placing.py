"""On which card a training runs: the least loaded that nobody else trains on."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from registry.gpus.cards import Card, NoGpu, cards
from registry.gpus.ledger import Ledger
from registry.settings import Settings

#: Seconds between two looks for a card, at most; each is drawn, so that those who wait spread.
PAUSE = 0.2


@dataclass(frozen=True)
class Placing:
    """How cards are lent: by which ledger, for whom, from how much free memory, with what patience.

    Times are seconds, memory is MiB.
    """

    ledger: Ledger
    what: str
    wait: float = 0.0
    least_free_mb: int = 0
    look: Callable[[], list[Card]] = field(default=cards)

    @classmethod
    def of(cls, settings: Settings, what: str) -> Placing:
        """What the settings say, for `what`."""
        ledger = Ledger(Path(settings.gpu_ledger))
        return cls(ledger, what, settings.gpu_wait, settings.gpu_free_mb)


class Lease:
    """A card that is this process's until `close`, or until the process ends.

    `waited` is how many seconds it took to get.
    """

    def __init__(self, card: Card, lock: int, waited: float) -> None:
        self.card = card
        self.waited = waited
        self._lock: int | None = lock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def close(self) -> None:
        """Give the card back. Closing twice is fine."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def place(placing: Placing) -> Lease:
    """Lend the least loaded card that is free, within the patience of `placing`.

    Raises:
        NoGpu: there is none, or none became free in time; says why for each card.
        ConfigError: the ledger cannot be used.
    """
    begun = time.monotonic()
    while True:
        reasons = []
        for card in sorted(placing.look(), key=lambda each: each.load):
            lock, reason = _try(placing, card)
            if lock is not None:
                return Lease(card, lock, time.monotonic() - begun)
            reasons.append(f"{card}: {reason}")
        left = placing.wait - (time.monotonic() - begun)
        if left <= 0:
            raise NoGpu("no GPU is free", _told(reasons, placing.wait))
        time.sleep(min(left, random.uniform(PAUSE / 4, PAUSE)))


def _try(placing: Placing, card: Card) -> tuple[int | None, str]:
    """The lock of a card, or why it cannot be had."""
    if card.free_mb < placing.least_free_mb:
        return None, _full(card, placing)
    lock = placing.ledger.take(card.uuid, placing.what)
    if lock is None:
        return None, f"held by {placing.ledger.holder(card.uuid) or 'one that has just ended'}"
    try:
        # Read again: who held it until a moment ago may have begun since the first look.
        now = next((each for each in placing.look() if each.uuid == card.uuid), None)
    except BaseException:
        os.close(lock)
        raise
    if now is None or now.free_mb < placing.least_free_mb:
        os.close(lock)
        return None, _full(now or card, placing)
    return lock, ""


def _full(card: Card, placing: Placing) -> str:
    return f"{card.free_mb} of {card.total_mb} MiB are free, {placing.least_free_mb} are asked for"


def _told(reasons: Sequence[str], wait: float) -> str:
    waited = f", after {wait:.0f} s" if wait else ""
    return "; ".join(reasons) + waited
