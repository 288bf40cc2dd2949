"""The make-believe machine of stub runners: its jobs are calls in this process, or scripted ends.

An attempt costs microseconds. Delays are entries of one timer thread, and whoever waits sleeps.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.runners.protocol import AttemptReference, LiveJob
from pipelines.runners.sizes import Capacity, size_named
from pipelines.runners.states import Ended, Kind, Queued, Running, State, Vanished, kind_of
from pipelines.runners.timers import Timers
from registry.artifacts.attempt import Attempt
from registry.artifacts.commit import Output, commit
from registry.artifacts.provenance import producer_of
from registry.artifacts.store import open_store
from registry.errors import PenstockError

#: What a job does for an attempt, usually: commit its artifact. What it returns is ignored.
Work = Callable[[Attempt, AttemptReference], object]

SUCCESS = Ended(0, None, None)


def commit_files(files: Mapping[str, bytes]) -> Work:
    """Work that commits `files` (relative path → bytes) as the artifact of each attempt."""

    def work(attempt: Attempt, reference: AttemptReference) -> None:
        with TemporaryDirectory(prefix="penstock-") as folder:
            for path, data in files.items():
                file = Path(folder, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
            store = open_store(reference.root)
            commit(store, attempt, Output(Path(folder)), producer_of(attempt))

    return work


@dataclass(frozen=True, slots=True)
class Script:
    """What becomes of a stub job: after `delay_s` (`hold`: once released) it works, then ends.

    It ends as `exit_code`, `signal` and `cause` say, in the words of `states.kind_of`; `vanish`
    leaves no word of its end. Only a job that would end with 0, or vanish, does its work.
    """

    delay_s: float = 0.0
    hold: bool = False
    exit_code: int | None = 0
    signal: int | None = None
    cause: str | None = None
    reason: str = ""
    vanish: bool = False
    log: bytes = b""

    @property
    def ending(self) -> State:
        """The state after the job's work is done."""
        if self.vanish:
            return Vanished("the script says so")
        if self.exit_code == 0 and self.signal is None and self.cause is None:
            return SUCCESS
        code = self.exit_code or None
        kind = kind_of(code, self.signal, self.cause)
        return Ended(code, self.signal, kind, reason=self.reason)


AT_ONCE = Script()


@dataclass(slots=True, eq=False)
class StubJob:
    """A job of the machine; `owner` is the runner whose queue it is in."""

    attempt: Attempt
    reference: AttemptReference
    script: Script
    work: Work
    owner: object

    @property
    def name(self) -> str:
        """What the machine knows it by: the write id of its attempt."""
        return self.attempt.write_id


class StubMachine:
    """A make-believe machine of `capacity` (None: without limits), and the jobs it ever had."""

    def __init__(self, capacity: Capacity | None = None) -> None:
        self.capacity = capacity
        self.timers = Timers()
        self.lock = threading.Lock()
        self.states: dict[str, State] = {}
        self.logs: dict[str, bytes] = {}
        self.sleepers: dict[str, set[threading.Event]] = {}
        self._live: dict[str, StubJob] = {}
        self._queue: dict[str, StubJob] = {}
        self._used = Capacity(0, 0)

    def add(self, job: StubJob) -> None:
        """Run the job, now or when there is room, unless it was added before."""
        size = size_named(job.attempt.size)
        with self.lock:
            if job.name in self.states:
                return
            if self.capacity and (reason := self.capacity.never_fits(size)):
                self.states[job.name] = Ended(None, None, Kind.NO_FIT, reason=reason)
                return
            self._queue[job.name] = job
            self.states[job.name] = Queued("waits for its turn")
            ready = self._admit()
        self._run(ready)

    def settle(self, attempt: Attempt, state: State) -> None:
        """End an attempt's job in `state`, whatever it was doing; nothing if it has ended."""
        name = attempt.write_id
        with self.lock:
            if name in self._live or name in self._queue:
                self._end(name, state)
            ready = self._admit()
        self._run(ready)

    def release(self, attempt: Attempt) -> None:
        """Let a held job do its work and end."""
        with self.lock:
            job = self._live.get(attempt.write_id)
        if job is not None:
            self._run([], self._complete(job))

    def live_jobs(self) -> list[LiveJob]:
        """The jobs that run or are queued."""
        with self.lock:
            attempts = [job.attempt for job in (*self._live.values(), *self._queue.values())]
        return [LiveJob(each.path, each.write_id, each.run, each.write_id) for each in attempts]

    def drop(self, owner: object) -> None:
        """Forget what `owner` has queued, as the end of a pipeline does."""
        with self.lock:
            for job in [job for job in self._queue.values() if job.owner is owner]:
                del self._queue[job.name], self.states[job.name]

    def _admit(self) -> list[StubJob]:
        """Take from the queue, in order, what there is room for."""
        ready: list[StubJob] = []
        while self._queue:
            job = next(iter(self._queue.values()))
            size = size_named(job.attempt.size)
            shortage = self.capacity.shortage(size, self._used) if self.capacity else ""
            if shortage:
                self._explain(shortage)
                break
            del self._queue[job.name]
            self._used = self._used.plus(size)
            self._live[job.name] = job
            self.states[job.name] = Running()
            ready.append(job)
        return ready

    def _explain(self, shortage: str) -> None:
        for name in self._queue:
            self.states[name] = Queued(shortage)

    def _run(self, ready: list[StubJob], more: list[StubJob] | None = None) -> None:
        """Begin jobs, and those for which their ends make room."""
        ready.extend(more or [])
        while ready:
            job = ready.pop()
            left = job.attempt.deadline - time.time()
            if job.script.hold or job.script.delay_s >= left:
                ended = Ended(None, 9, Kind.TIMEOUT, reason="the deadline passed")
                self.timers.after(left, partial(self.settle, job.attempt, ended))
            elif job.script.delay_s:
                self.timers.after(job.script.delay_s, partial(self.release, job.attempt))
            else:
                ready.extend(self._complete(job))

    def _complete(self, job: StubJob) -> list[StubJob]:
        """Do the work of a job and end it; returns the jobs for which that makes room."""
        state, log = _perform(job)
        with self.lock:
            if log:
                self.logs[job.name] = log
            if job.name in self._live:  # it may have been stopped meanwhile
                self._end(job.name, state)
            return self._admit()

    def _end(self, name: str, state: State) -> None:
        self.states[name] = state
        self._queue.pop(name, None)
        job = self._live.pop(name, None)
        if job is not None:
            self._used = self._used.minus(size_named(job.attempt.size))
        for event in self.sleepers.pop(name, ()):
            event.set()


def _perform(job: StubJob) -> tuple[State, bytes]:
    """Do the work of a job: the state it ends in, and its log."""
    ending, log = job.script.ending, job.script.log
    if ending is not SUCCESS and not job.script.vanish:
        return ending, log
    try:
        job.work(job.attempt, job.reference)
    except MemoryError as error:
        return Ended(71, None, kind_of(71, None), reason=str(error)), log
    except PenstockError as error:
        code = error.exit_code
        return Ended(code, None, kind_of(code, None), reason=str(error)), log + str(error).encode()
    except Exception as error:  # noqa: BLE001 - whatever it is, the job failed and not the runner
        trace = traceback.format_exc().encode()
        return Ended(1, None, kind_of(1, None), reason=repr(error)), log + trace
    return ending, log
