"""How the local runner starts a job, once, among all pipelines of a machine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.runners import shim
from pipelines.runners.folder import JobFolder
from pipelines.runners.ledger import Ledger
from pipelines.runners.protocol import JOB_DEFAULTS, AttemptReference, Command
from pipelines.runners.shim import LOG
from pipelines.runners.sizes import Capacity, size_named
from pipelines.runners.states import Starting, Unknown
from registry.artifacts.attempt import Attempt
from registry.crashpoints import crashpoint
from registry.errors import Corrupt, StoreUnwritable


@dataclass(frozen=True, slots=True)
class Limits:
    """What every job of a runner is held to: bytes of its log, seconds from SIGTERM to SIGKILL."""

    log_bytes: int = 64 * 2**20
    grace_s: float = 5.0


class Launcher:
    """Starts jobs below `jobs`, as far as `capacity` allows."""

    def __init__(self, jobs: Path, capacity: Capacity, command: Command, limits: Limits) -> None:
        self._jobs = jobs
        self._capacity = capacity
        self._command = command
        self._limits = limits
        self._ledger = Ledger(jobs)
        self._shims: dict[int, JobFolder] = {}
        self._lock = threading.Lock()

    def launch(self, attempt: Attempt, reference: AttemptReference) -> str:
        """Start the attempt's job unless it began before; returns why there is no room, or "".

        Raises:
            UsageError: the size is unknown.
            StoreUnwritable: the folder of jobs cannot be written, or no process be started.
        """
        size = size_named(attempt.size)
        folder = JobFolder(self._jobs, attempt)
        with _explained(folder.path), self._ledger.guard():
            if folder.begun():
                return ""
            if reason := self._capacity.never_fits(size):
                folder.write_end("no-fit", reason)
            elif time.time() >= attempt.deadline:
                folder.write_end("no-room", "the deadline passed before there was room")
            elif reason := self._capacity.shortage(size, self._ledger.used()):
                return reason
            else:
                self._spawn(attempt, reference, folder)
            return ""

    def reap(self) -> None:
        """Take leave of shims that ended; one that never came to its job leaves a word here."""
        with self._lock:
            shims = list(self._shims.items())
        for pid, folder in shims:
            if _has_ended(pid) and self._has_settled(folder):
                with self._lock:
                    del self._shims[pid]

    def _has_settled(self, folder: JobFolder) -> bool:
        """Whether the folder of a shim that ended says what became of the job."""
        try:
            state = folder.state()
        except Corrupt:  # whoever asks for this attempt is told
            return True
        if isinstance(state, Unknown):
            with self._ledger.guard():
                if not folder.begun():
                    folder.write_end("lost", "its shim ended before the job began; see its log")
        return not isinstance(state, Starting)  # its fork lives on for a moment

    def _spawn(self, attempt: Attempt, reference: AttemptReference, folder: JobFolder) -> None:
        size = size_named(attempt.size)
        lock = self._ledger.take(folder.lock, size)
        try:
            folder.write_job(
                {
                    "attempt": reference.key,
                    "command": self._command(attempt, reference),
                    "memory_mb": size.memory_mb,
                    "deadline": attempt.deadline,
                    "log_limit": self._limits.log_bytes,
                    "grace_s": self._limits.grace_s,
                }
            )
            crashpoint("runner.before_spawn")
            pid = _spawn_shim(folder, lock)
            crashpoint("runner.after_spawn")
        finally:
            os.close(lock)  # the shim has its own descriptor of it
        with self._lock:
            self._shims[pid] = folder


def _spawn_shim(folder: JobFolder, lock: int) -> int:
    """Start the shim of a folder, in a session of its own; returns its process id."""
    command = [sys.executable, "-I", "-S", shim.__file__, str(folder.path), str(lock)]
    with (folder.path / LOG).open("a+b") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**JOB_DEFAULTS, **os.environ},
            pass_fds=(lock,),
            start_new_session=True,
        )
    # The shim is meant to outlive this object, which would otherwise warn that it does.
    process.returncode = 0
    return process.pid


def _has_ended(pid: int) -> bool:
    """Whether a child ended; takes its status, so that no zombie stays."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:  # somebody else in this process took it
        return True


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn an error of the system into one that says what to do."""
    try:
        yield
    except OSError as error:
        raise StoreUnwritable(
            f"cannot start a job in {folder}",
            str(error),
            "Make room or allow writing there, or set PENSTOCK_VAR to another folder.",
        ) from error
