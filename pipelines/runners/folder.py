"""One attempt on this machine: the folder of its job, and what can be read from it.

    jobs/<key16>-<number>-<write id8>/   job.json started.json stop.json exit.json log
    jobs/locks/<the same>.lock           held while shim or job lives; says what it takes

The order of writing is what makes the folder speak after any crash: lock, `job.json`,
`started.json` (before the job's first instruction), `exit.json` (before the lock is let go).
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pipelines.runners.memory import memory_evidence
from pipelines.runners.protocol import LiveJob
from pipelines.runners.shim import (
    EXIT,
    JOB,
    LOG,
    STARTED,
    STOP,
    birth,
    lock_is_held,
    read_record,
    write_record,
)
from pipelines.runners.states import (
    Ended,
    Running,
    Starting,
    State,
    Unknown,
    Usage,
    Vanished,
    kind_of,
)
from registry.artifacts.attempt import Attempt
from registry.decoders import decoder
from registry.errors import Corrupt

LOCKS = "locks"

T = TypeVar("T")


class ExitRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`exit.json`: how a job ended, as facts. `cause` is a word of `states.CAUSES`."""

    exit_code: int | None = None
    signal: int | None = None
    cause: str | None = None
    reason: str = ""
    memory_mb: int = 0
    kernel_killed: bool = False
    peak_mb: float | None = None
    cpu_s: float | None = None
    wall_s: float | None = None

    def ended(self, log_tail: bytes) -> Ended:
        """The state that these facts and the end of the log add up to. Raises Corrupt."""
        cause, reason = self.cause, self.reason
        if cause is None and (evidence := self._memory_evidence(log_tail)):
            cause, reason = "oom", evidence
        kind = kind_of(self.exit_code, self.signal, cause)
        return Ended(self.exit_code, self.signal, kind, self._usage(), reason)

    def _memory_evidence(self, log_tail: bytes) -> str:
        return memory_evidence(
            self.exit_code, self.signal, self.peak_mb or 0, self.memory_mb, self.kernel_killed,
            log_tail,
        )  # fmt: skip

    def _usage(self) -> Usage | None:
        if self.peak_mb is None or self.cpu_s is None or self.wall_s is None:
            return None
        return Usage(self.peak_mb, self.cpu_s, self.wall_s)


class StartedRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`started.json`: the job's process (also its process group), and the shim's."""

    pid: int
    birth: int | None
    shim: int
    started: float


class StopRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`stop.json`: somebody wants the job to end."""

    cause: str
    reason: str


class JobFolder:
    """The files of one attempt's job; reading them never disturbs the job."""

    def __init__(self, jobs: Path, attempt: Attempt) -> None:
        # The write id tells attempts of different stores apart, which may share key and number.
        self.name = f"{attempt.key[:16]}-{attempt.number}-{attempt.write_id[:8]}"
        self.path = jobs / self.name
        self.lock = jobs / LOCKS / f"{self.name}.lock"

    def state(self) -> State:
        """Where the attempt stands, from files and lock alone. Raises Corrupt."""
        try:
            return self._state()
        except (Corrupt, msgspec.DecodeError) as error:
            todo = "Delete the folder to forget this attempt."
            raise Corrupt(f"a record in {self.path} is damaged", str(error), todo) from error

    def _state(self) -> State:
        # Before the lock is tried: what is found after it was seen free was written before.
        started = (self.path / STARTED).exists()
        if lock_is_held(str(self.lock)) and not (self.path / EXIT).exists():
            return Running() if started else Starting()
        if (end := self._read(EXIT, ExitRecord)) is not None:
            return end.ended(self.log_tail(4096))
        if (stop := self._read(STOP, StopRecord)) is not None:
            return Ended(None, None, kind_of(None, None, stop.cause), reason=stop.reason)
        if started:
            return Vanished("the job ran, runs no more, and left no word of its end")
        return Unknown()

    def begun(self) -> bool:
        """Whether the attempt needs no start: it runs, has ended, or was stopped."""
        return not isinstance(self.state(), Unknown)

    def write_job(self, job: dict[str, Any]) -> None:
        """Make the folder and write what the shim has to know."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_record(str(self.path), JOB, job)

    def write_end(self, cause: str, reason: str) -> None:
        """Record the end of an attempt whose job never ran."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_record(
            str(self.path), EXIT, msgspec.to_builtins(ExitRecord(cause=cause, reason=reason))
        )

    def ask_to_end(self, cause: str, reason: str) -> None:
        """Ask the shim to end the job; the first request stands."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / STOP).exists():
            write_record(str(self.path), STOP, {"cause": cause, "reason": reason})

    def is_asked_to_end(self) -> bool:
        """Whether a request to end the job is there."""
        return (self.path / STOP).exists()

    def is_orphan(self) -> bool:
        """Whether the job runs without its shim, so that nobody else can end it."""
        started = self.path / STARTED
        return started.exists() and not lock_is_held(str(started)) and lock_is_held(str(self.lock))

    def kill(self) -> None:
        """End the job's process group at once, if it is still the one that was announced."""
        started = self._read(STARTED, StartedRecord)
        if started is None or birth(started.pid) not in {None, started.birth}:
            return
        try:
            os.killpg(started.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return  # it ended meanwhile

    def log_tail(self, limit: int) -> bytes:
        """The last `limit` bytes of the log; empty when there is none."""
        try:
            with (self.path / LOG).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - limit))
                return file.read(limit)
        except (FileNotFoundError, NotADirectoryError):
            return b""

    def _read(self, name: str, kind: type[T]) -> T | None:
        try:
            return decoder(kind).decode((self.path / name).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None


def live_jobs(jobs: Path) -> list[LiveJob]:
    """The jobs below `jobs` whose lock is held, and that have left no word of their end."""
    found = []
    for lock in sorted((jobs / LOCKS).glob("*-*.lock")):
        if lock_is_held(str(lock)) and not (jobs / lock.stem / EXIT).exists():
            with contextlib.suppress(OSError, ValueError, KeyError):  # about to start
                record = read_record(str(jobs / lock.stem), JOB)["attempt"]
                found.append(LiveJob(record, lock.stem, writer=lock.stem.rpartition("-")[2]))
    return found
