"""Stores that fail as networks fail, on a seeded schedule."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from registry.artifacts.store.protocol import AlreadyExists, Store
from registry.errors import StoreError

#: "before": nothing was done. "lost": done, but the reply never came. "exists": done, the reply was
#: lost, and a client library that retries by itself then found the object there. "conflict": S3's
#: 409, which reads as "exists" although no object is there (yet).
FAULTS: tuple[str, ...] = ("before", "lost", "exists", "conflict")


class Schedule:
    """What happens to each write in turn; counts what it did in `done`.

    Args:
        faults: the faults of the first writes, None for a write that works.
        rate: the probability of a fault afterwards, drawn from `seed`.
        burst: so many faults of one key in a row at most, fewer than a caller's tries.
    """

    def __init__(
        self,
        *faults: str | None,
        rate: float = 0.0,
        seed: int | str = 0,
        burst: int = 2,
    ) -> None:
        self.done: Counter[str] = Counter()
        self._script = list(faults)
        self._rate = rate
        self._random = random.Random(seed)
        self._burst = burst
        # Counted for each key: the tries of one writer stand between those of other threads.
        self._rows: Counter[str] = Counter()

    def next(self, key: str) -> str | None:
        """The fault of the next write, which is to `key`."""
        fault = self._script.pop(0) if self._script else self._draw(key)
        self._rows[key] = self._rows[key] + 1 if fault else 0
        self.done[fault or "none"] += 1
        return fault

    def _draw(self, key: str) -> str | None:
        if self._rows[key] >= self._burst or self._random.random() >= self._rate:
            return None
        return self._random.choice(FAULTS)


class FaultyStore:
    """A real store whose writes fail as `schedule` says.

    It exists because no real server can be made to lose exactly the replies that a test is about;
    `tests/proxies.py` does it for one connection of a real one. What lies in the store, and every
    reading, is the real store's.
    """

    def __init__(self, store: Store, schedule: Schedule) -> None:
        self.store = store
        self.schedule = schedule

    @property
    def url(self) -> str:
        return self.store.url

    def under(self, prefix: str) -> Store:
        return FaultyStore(self.store.under(prefix), self.schedule)

    def create(self, key: str, data: bytes) -> None:
        self._write(key, lambda: self.store.create(key, data))

    def create_from(self, key: str, path: Path) -> None:
        self._write(key, lambda: self.store.create_from(key, path))

    def get(self, key: str) -> bytes:
        return self.store.get(key)

    def get_range(self, key: str, start: int, end: int) -> bytes:
        return self.store.get_range(key, start, end)

    def download(self, key: str, path: Path) -> None:
        self.store.download(key, path)

    def size(self, key: str) -> int:
        return self.store.size(key)

    def list(self, prefix: str) -> Iterator[str]:
        return self.store.list(prefix)

    def delete(self, key: str) -> None:
        self.store.delete(key)

    def local_path(self, key: str) -> Path | None:
        return self.store.local_path(key)

    def _write(self, key: str, write: Callable[[], None]) -> None:
        fault = self.schedule.next(key)
        if fault == "before":
            raise StoreError(f"injected: {key} was not sent")
        if fault == "conflict":
            raise AlreadyExists(f"injected: a rival is writing {key}")
        write()
        if fault == "lost":
            raise StoreError(f"injected: the reply about {key} was lost")
        if fault == "exists":
            raise AlreadyExists(f"injected: the retry found {key}")
