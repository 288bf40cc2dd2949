"""Turns: how many attempts of one pipeline may be under way at once; the others wait in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Turns:
    """Lets `limit` callers through at once (0: all), first come, first served.

    A cluster's scheduler is no place for a deep queue: a pending job costs it memory and time at
    every change. And the deadline of an attempt, which begins with its record, is not spent here.
    """

    def __init__(self, limit: int = 0) -> None:
        self._limit = limit
        self._taken = 0
        self._queue: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    @contextmanager
    def one(self, waiting: Callable[[str], None]) -> Iterator[None]:
        """Be among those who may; `waiting` is told why where that takes a while."""
        mine = self._take()
        if mine is not None:
            waiting(f"{self._limit} jobs of this pipeline are under way, which is all that may be")
            mine.wait()
        try:
            yield
        finally:
            self._give()

    def _take(self) -> threading.Event | None:
        """None if there is room now; else what is set once there is."""
        with self._lock:
            if not self._limit or self._taken < self._limit:
                self._taken += 1
                return None
            self._queue.append(event := threading.Event())
            return event

    def _give(self) -> None:
        with self._lock:
            if self._queue:
                self._queue.popleft().set()  # whose turn it is counts in the place of this one
            else:
                self._taken -= 1
