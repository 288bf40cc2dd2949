"""The children of one parent, followed by one thread however many wait for them.

The thread asks for the list of live children and is answered when it changes (a blocking query), at
most once a second, and every minute though nothing has. So an answer is a full account: a child that
is not on it has ended, or is gone, and only such children cost a request of their own.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

from pipelines.runners.nomad.child import Child
from pipelines.runners.nomad.client import NomadClient
from pipelines.runners.nomad.contract import STOP_PRIORITIES, children_prefix
from pipelines.runners.nomad.errors import NomadAway, NomadRefused
from pipelines.runners.nomad.failures import verdict
from pipelines.runners.nomad.queue import QueueWatch
from pipelines.runners.nomad.records import JobStub
from pipelines.runners.nomad.setup import SetupWatch
from pipelines.runners.protocol import RunnerClosed
from pipelines.runners.states import CAUSES, Ended, Queued, Starting
from registry.artifacts.attempt import Attempt

#: Seconds: between two answers at least, without a change at most, and while something does not run.
PACE, RECONCILE, QUEUED = 1.0, 60.0, 5.0
#: Seconds between two tries while Nomad is away: at first, and at most.
FIRST_DELAY, LAST_DELAY = 0.5, 30.0

LogTail = Callable[[str], bytes]


class Parent:
    """Follows children of the parameterized job `name`.

    Args:
        log: the end of a child's log, by its name; for what only the log tells.
        pace: seconds between two answers, at least.
    """

    def __init__(self, client: NomadClient, name: str, log: LogTail, pace: float = PACE) -> None:
        self._client = client
        self._pace = pace
        self._log = log
        self._prefix = children_prefix(name)
        self._queue = QueueWatch(client, name)
        self._setup = SetupWatch(client)
        self._children: dict[str, Child] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._expected = 0
        #: Why Nomad cannot be asked at the moment; empty when it can.
        self.trouble = ""

    @contextlib.contextmanager
    def expecting(self) -> Iterator[None]:
        """While the block dispatches a child and follows it, no query blocks for long.

        One that began before the child was followed does not look after its deadline, nor after
        what it waits for. The dispatch itself answers those that began before the block.
        """
        with self._changed:
            self._expected += 1
        try:
            yield
        finally:
            with self._changed:
                self._expected -= 1

    def follow(self, attempt: Attempt, name: str) -> Child:
        """Follow the child `name` of an attempt until it ends."""
        with self._changed:
            if self._closed:
                raise RunnerClosed
            child = self._children.setdefault(name, Child(attempt, name))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._prefix, daemon=True)
                self._thread.start()
            return child

    def close(self) -> None:
        """Wake all who wait; the client's requests must have been broken off before, or soon be."""
        with self._changed:
            self._closed = True
            for child in self._children.values():
                child.fail(RunnerClosed())
            self._changed.notify_all()

    def join(self) -> None:
        """Wait until the thread has ended."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        index, delay = 0, FIRST_DELAY
        while self._has_work():
            asked = time.monotonic()
            try:
                index = self._round(index)
                delay = FIRST_DELAY
                self._sleep(asked, self._pace)
            except NomadAway as error:
                self.trouble = f"{error.what}: {error.why}"
                index = 0  # whoever answers next may be another server, or the same without memory
                self._sleep(time.monotonic(), delay)
                delay = min(LAST_DELAY, 2 * delay)
            except Exception as error:  # noqa: BLE001 - it belongs to those who wait
                self._fail_all(error)

    def _has_work(self) -> bool:
        """Whether there is anything to follow; without, the thread ends, to be made again."""
        with self._changed:
            if self._closed or not self._children:
                self._thread = None
                return False
            return True

    def _round(self, index: int) -> int:
        """Wait for the next account and take it in; returns the index to wait from."""
        known = self._followed()
        self._end_overdue(known)
        listing = self._client.children(
            self._prefix, live=True, index=index, wait=self._patience(known)
        )
        self.trouble = ""
        live = {stub.id: stub for stub in listing.jobs}
        # Those that were followed before the question: the answer may be older than the others.
        for child in known:
            self._take_in(child, live.get(child.name))
        left = self._followed()
        self._queue.look(left)
        self._setup.look(left)
        self._forget_ended()
        return listing.at if listing.at >= index else 0

    def _followed(self) -> list[Child]:
        with self._changed:
            return [child for child in self._children.values() if not child.over.is_set()]

    def _patience(self, children: list[Child]) -> float:
        """Seconds that a query may block."""
        if self._expected or any(child.ending for child in children):
            return self._pace  # a stopped child is off the list at once; its end changes no list
        idle = any(isinstance(child.state, Queued | Starting) for child in children)
        longest = QUEUED if idle else RECONCILE
        due = min((c.attempt.deadline for c in children if not c.asked_to_end), default=0.0)
        return min(longest, max(self._pace, due - time.time())) if due else longest

    def _take_in(self, child: Child, stub: JobStub | None) -> None:
        if stub is not None and stub.status != "dead":
            child.see(stub)
            child.ending = False
            return
        child.ending = True
        end = verdict(self._client, child.name, partial(self._log, child.name))
        if end is not None:
            child.finish(end)

    def _end_overdue(self, children: list[Child]) -> None:
        """Stop what may no longer commit."""
        for child in children:
            if time.time() >= child.attempt.deadline and not child.asked_to_end:
                cause = "timeout" if child.ran else "no-room"
                try:
                    self._client.stop(child.name, STOP_PRIORITIES[cause])
                except NomadRefused as error:  # it goes on for nothing: it may not commit
                    reason = f"the deadline passed, and it could not be stopped: {error.why}"
                    child.finish(Ended(None, None, CAUSES[cause], reason=reason))
                child.asked_to_end = True

    def _forget_ended(self) -> None:
        with self._changed:
            self._children = {n: c for n, c in self._children.items() if not c.over.is_set()}

    def _fail_all(self, error: Exception) -> None:
        for child in self._followed():
            child.fail(error)
        self._forget_ended()

    def _sleep(self, since: float, seconds: float) -> None:
        """Sleep until `seconds` after `since`, or until closed."""
        with self._changed:
            left = since + seconds - time.monotonic()
            if left > 0 and not self._closed:
                self._changed.wait(left)
