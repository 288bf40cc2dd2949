"""What every runner can do: start an attempt once, say where it stands, wait for it, stop it.

A runner keeps no memory that a new process would lack. All that matters is the attempt record in
the store and what the runner's own world (folders, an agent) still shows, so a pipeline that was
killed is followed by one that starts the same attempts again and finds them running.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from pipelines.runners.states import Ended, State
from registry.artifacts.attempt import Attempt
from registry.errors import Temporary


class AttemptReference(NamedTuple):
    """Where the record of an attempt is, for the job that will read it."""

    root: str
    """URI of the environment's root in the store."""
    key: str
    """Key of the record within that root, `attempts/<recipe key>/<number>.json`."""
    digest: str
    """SHA-256 of the record's bytes, 64 hexadecimal digits."""


Command = Callable[[Attempt, AttemptReference], list[str]]

#: Set for every job unless the environment already says otherwise.
JOB_DEFAULTS: Mapping[str, str] = MappingProxyType(
    {
        # A killed job shows its last lines, and a crash in a native library where it happened.
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        # OpenBLAS reserves memory per core of the machine at import, which a size does not foresee.
        "OPENBLAS_NUM_THREADS": "1",
    }
)


def job_command(attempt: Attempt, reference: AttemptReference) -> list[str]:
    """The command that runs an attempt's job with the interpreter of this process."""
    del attempt  # the record says it all; the job reads it from the store
    root, key, digest = reference
    return [sys.executable, "-m", "jobs", "--root", root, "--attempt", key, "--digest", digest]


class RunnerClosed(Temporary):
    """The runner was closed while somebody waited; jobs go on and can be found again."""

    def __init__(self) -> None:
        super().__init__(
            "the runner was closed",
            "the pipeline is ending while jobs still run",
            "Run the same command again: it finds the jobs that go on.",
        )


class RunnerAway(Temporary):
    """The runner's world cannot be reached for now. Jobs go on; the same call works later."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what, why, "Nothing is lost: jobs that run go on, and are found again.")


class LiveJob(NamedTuple):
    """A job that has not ended, as the runner's own world shows it."""

    record: str
    """Path of the attempt's record, within the environment that it belongs to."""
    name: str
    """What the runner calls the job."""
    run: str = ""
    """The run that started it; empty when the runner does not know."""
    writer: str = ""
    """How the write id of its attempt begins; empty when the runner does not know."""

    def is_of(self, attempt: Attempt) -> bool:
        """Whether it is the job of `attempt`, rather than of another store's at the same path."""
        same = self.record == attempt.path and self.run in ("", attempt.run)
        return same and attempt.write_id.startswith(self.writer)


class Runner(Protocol):
    """One way to run jobs. Safe to use from many threads at once."""

    @property
    def name(self) -> str:
        """What attempt records call this runner: "local", "stub", "nomad"."""
        ...

    @property
    def host(self) -> str:
        """The machine whose attempts this runner can see; empty when it sees them all."""
        ...

    def start(self, attempt: Attempt, reference: AttemptReference) -> None:
        """See to it that the attempt's job runs, now or when there is room.

        Does nothing when it was started before, by whomever, or has ended. A size that can never
        fit ends the attempt at once (kind no-fit).

        Raises:
            UsageError: the size is unknown.
            StoreUnwritable: the runner's own folder cannot be written.
            ConfigError: the runner's world is not set up for this kind of work.
            RunnerAway: it cannot be reached; nothing is known to have started.
            RunnerClosed: `close` was called.
        """
        ...

    def state(self, attempt: Attempt) -> State:
        """Where the attempt stands now.

        Raises:
            Corrupt: what the runner wrote about it cannot be read.
            RunnerAway: it cannot be asked.
        """
        ...

    def wait(self, attempt: Attempt, timeout: float | None = None) -> Ended | None:
        """How the attempt ended, or None when `timeout` seconds passed first.

        A vanished attempt is an end of kind `lost`. Waiting costs a sleeping thread, no polling,
        and goes on while the runner's world cannot be reached.

        Raises:
            Corrupt: what the runner wrote about it cannot be read.
            RunnerClosed: `close` was called meanwhile; the job goes on.
        """
        ...

    def stop(self, attempt: Attempt) -> None:
        """End the attempt's job, or take it from the queue; it ends with kind `stopped`.

        Does nothing when the attempt has ended or was never started. Returns before it has ended.

        Raises:
            RunnerAway: it cannot be asked.
        """
        ...

    def live(self) -> list[LiveJob]:
        """The jobs that have not ended, of whatever pipeline or environment.

        Raises:
            RunnerAway: it cannot be asked.
        """
        ...

    def log_tail(self, attempt: Attempt, limit: int = 65536) -> bytes:
        """The last `limit` bytes that the job printed; empty when there are none."""
        ...

    def pipeline_lives(self, allocation: str) -> bool | None:
        """Whether the pipeline that is this allocation of the runner's world is there.

        None where the runner has no such allocations.

        Raises:
            RunnerAway: it cannot be asked.
        """
        ...

    def close(self) -> None:
        """Wake all who wait and forget the queue; jobs that run go on."""
        ...
