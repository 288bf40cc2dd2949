"""Calls at later times, from one thread for all of them, which sleeps until the next is due."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

Call = Callable[[], None]


class Timers:
    """Makes calls after a delay. The thread exists only while something is due."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Call]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None

    def after(self, seconds: float, call: Call) -> None:
        """Make `call`, which must not raise, `seconds` from now."""
        due = time.monotonic() + seconds
        with self._changed:
            heapq.heappush(self._heap, (due, next(self._order), call))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="timers", daemon=True)
                self._thread.start()
            elif self._heap[0][2] is call:
                self._changed.notify()

    def close(self) -> None:
        """Forget every call to come, and wait for the thread to end."""
        with self._changed:
            self._heap.clear()
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while (call := self._next()) is not None:
            call()

    def _next(self) -> Call | None:
        """The next call once it is due; None when there is none, and the thread has to end."""
        with self._changed:
            while self._heap:
                left = self._heap[0][0] - time.monotonic()
                if left <= 0:
                    return heapq.heappop(self._heap)[2]
                self._changed.wait(left)
            self._thread = None
            return None
