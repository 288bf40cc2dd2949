"""The runner for tests and dry runs: it keeps the promises of the protocol without a process.

What outlives a pipeline (which jobs there are and how they ended) is a `StubMachine`, which several
runners can share, as several pipelines share a real one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from pipelines.runners.machine import AT_ONCE, Script, StubJob, StubMachine, Work
from pipelines.runners.protocol import AttemptReference, LiveJob, RunnerClosed
from pipelines.runners.sizes import size_named
from pipelines.runners.states import Ended, Kind, State, Unknown, Vanished
from registry.artifacts.attempt import Attempt


class StubRunner:
    """Runs `work` for each attempt within this process, as `script` says.

    Args:
        work: called once per attempt, in the thread that starts it or in the timer's.
        script: what becomes of an attempt's job; default: it works and ends at once.
        machine: where jobs live; default: one of its own, without limits.
    """

    name = "stub"
    host = ""

    def __init__(
        self, work: Work, script: Callable[[Attempt], Script] = lambda _: AT_ONCE,
        machine: StubMachine | None = None,
    ) -> None:  # fmt: skip
        self._work = work
        self._script = script
        self._machine = machine or StubMachine()
        self._owns_machine = machine is None
        self._sleeping: set[threading.Event] = set()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def start(self, attempt: Attempt, reference: AttemptReference) -> None:
        """Run or queue the attempt's job; see `Runner.start`."""
        size_named(attempt.size)
        if self._closed:
            raise RunnerClosed
        self._machine.add(StubJob(attempt, reference, self._script(attempt), self._work, self))

    def state(self, attempt: Attempt) -> State:
        """Where the attempt stands now; see `Runner.state`."""
        return self._machine.states.get(attempt.write_id) or Unknown()

    def wait(self, attempt: Attempt, timeout: float | None = None) -> Ended | None:
        """How the attempt ended, None after `timeout` seconds; see `Runner.wait`."""
        event = threading.Event()
        with self._machine.lock:
            if (ended := self._ended(attempt)) is not None:
                return ended
            if self._closed:
                raise RunnerClosed
            sleepers = self._machine.sleepers.setdefault(attempt.write_id, set())
            sleepers.add(event)
            self._sleeping.add(event)
        event.wait(timeout)
        with self._machine.lock:
            sleepers.discard(event)
            self._sleeping.discard(event)
            ended = self._ended(attempt)
        if ended is None and self._closed:
            raise RunnerClosed
        return ended

    def stop(self, attempt: Attempt) -> None:
        """End the attempt's job; see `Runner.stop`."""
        stopped = Ended(None, None, Kind.STOPPED, reason="stopped on request")
        self._machine.settle(attempt, stopped)

    def log_tail(self, attempt: Attempt, limit: int = 65536) -> bytes:
        """The last `limit` bytes of the job's log; see `Runner.log_tail`."""
        return self._machine.logs.get(attempt.write_id, b"")[-limit:]

    def live(self) -> list[LiveJob]:
        """The jobs of the machine that have not ended; see `Runner.live`."""
        return self._machine.live_jobs()

    def pipeline_lives(self, allocation: str) -> bool | None:
        """Nothing is known of allocations here; see `Runner.pipeline_lives`."""
        del allocation
        return None

    def close(self) -> None:
        """Wake all who wait and forget this runner's queue; see `Runner.close`."""
        self._machine.drop(self)
        with self._machine.lock:
            self._closed = True
            for event in self._sleeping:
                event.set()
        if self._owns_machine:
            self._machine.timers.close()

    def _ended(self, attempt: Attempt) -> Ended | None:
        state = self._machine.states.get(attempt.write_id)
        if isinstance(state, Vanished):
            return state.as_ended()
        return state if isinstance(state, Ended) else None
