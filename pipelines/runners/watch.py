"""One thread that looks after every wait of a runner, however many callers sleep in `wait`.

It looks often shortly after something happened, and seldom when nothing does: a step of a second
is noticed within hundredths, a job of an hour costs two looks a second, an idle runner none.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pipelines.runners.protocol import RunnerClosed
from pipelines.runners.states import Ended
from registry.artifacts.attempt import Attempt

#: Seconds between looks: at least, at most, and as a share of the time since something happened.
SHORTEST, LONGEST, SHARE = 0.02, 0.5, 0.05


@dataclass(slots=True)
class Watch:
    """One attempt somebody waits for, and what came of it."""

    attempt: Attempt
    waiters: int = 0
    done: threading.Event = field(default_factory=threading.Event)
    ended: Ended | None = None
    error: Exception | None = None

    def finish(self, ended: Ended | None, error: Exception | None = None) -> None:
        """Wake all who wait."""
        self.ended, self.error = ended, error
        self.done.set()

    def outcome(self) -> Ended | None:
        """What came of it; None when nothing has."""
        if self.error is not None:
            raise self.error
        return self.ended


class Watcher:
    """Lets callers wait for attempts.

    Args:
        look: how an attempt ended, None while it has not. Called often; may raise.
        tick: the runner's own housekeeping, once per round; True when it wants another round.
    """

    def __init__(self, look: Callable[[Attempt], Ended | None], tick: Callable[[], bool]) -> None:
        self._look = look
        self._tick = tick
        self._changed = threading.Condition()
        self._watches: dict[str, Watch] = {}
        self._thread: threading.Thread | None = None
        self._stirred_at = 0.0
        self._fresh = False
        self._more = False
        self._closed = False

    def wait(self, attempt: Attempt, timeout: float | None) -> Ended | None:
        """How the attempt ended; None when `timeout` seconds passed first. Raises what `look` does.

        Raises:
            RunnerClosed: the watcher was closed.
        """
        if (ended := self._look(attempt)) is not None:
            return ended
        watch = self._enter(attempt)
        try:
            watch.done.wait(timeout)
        finally:
            self._leave(watch)
        return watch.outcome()

    def stir(self) -> None:
        """Say that something happened, so that it pays to look now."""
        with self._changed:
            self._stir()

    def check_open(self) -> None:
        """Raise RunnerClosed once `close` was called."""
        if self._closed:
            raise RunnerClosed

    def close(self) -> None:
        """Wake all who wait, with RunnerClosed, and end the thread."""
        with self._changed:
            self._closed = True
            for watch in self._watches.values():
                watch.finish(None, RunnerClosed())
            self._watches.clear()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _enter(self, attempt: Attempt) -> Watch:
        with self._changed:
            self.check_open()
            watch = self._watches.setdefault(attempt.write_id, Watch(attempt))
            watch.waiters += 1
            self._stir()
            return watch

    def _leave(self, watch: Watch) -> None:
        with self._changed:
            watch.waiters -= 1
            name = watch.attempt.write_id
            if not watch.waiters and self._watches.get(name) is watch:
                del self._watches[name]

    def _stir(self) -> None:
        self._stirred_at = time.monotonic()
        self._fresh = True
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._run, name="runner-watch", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while self._pause():
            for watch in list(self._watches.values()):
                self._visit(watch)
            self._keep_house()

    def _pause(self) -> bool:
        """Sleep until the next look is due; False when the watcher was closed."""
        with self._changed:
            if not self._fresh and not self._closed:
                self._changed.wait(self._interval())
            self._fresh = False
            return not self._closed

    def _interval(self) -> float | None:
        if not self._watches and not self._more:
            return None
        calm = time.monotonic() - self._stirred_at
        return min(LONGEST, max(SHORTEST, SHARE * calm))

    def _visit(self, watch: Watch) -> None:
        try:
            ended = self._look(watch.attempt)
        except Exception as error:  # noqa: BLE001 - it belongs to who waits, not to this thread
            self._finish(watch, None, error)
        else:
            if ended is not None:
                self._finish(watch, ended)

    def _finish(self, watch: Watch, ended: Ended | None, error: Exception | None = None) -> None:
        with self._changed:
            self._watches.pop(watch.attempt.write_id, None)
            self._stirred_at = time.monotonic()
            watch.finish(ended, error)

    def _keep_house(self) -> None:
        try:
            self._more = self._tick()
        except Exception as error:  # noqa: BLE001 - without housekeeping no wait would ever end
            for watch in list(self._watches.values()):
                self._finish(watch, None, error)
