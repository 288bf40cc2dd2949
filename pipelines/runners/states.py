"""What can become of an attempt, and why it failed: tables that every runner shares.

    unknown → queued → starting → running → ended(kind) | vanished

A runner reports what it knows about a *process*. Whether the work is done is said by the manifest
alone: a job may have committed and then been killed, or ended with 0 and committed nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import msgspec

from registry.errors import Corrupt


class Kind(StrEnum):
    """Why an attempt failed. The words go into records and messages; they never change."""

    ARTIFACT_DOWNLOAD = "artifact-download"
    BAD_DATA = "bad-data"
    DRIVER = "driver"
    EXIT = "exit"
    KILLED = "killed"
    LOST = "lost"
    NO_FIT = "no-fit"
    NO_MANIFEST = "no-manifest"
    OOM = "oom"
    PREEMPTED = "preempted"
    SIGNAL = "signal"
    STOPPED = "stopped"
    TEMPORARY = "temporary"
    TIMEOUT = "timeout"


class Remedy(StrEnum):
    """What helps against a kind of failure; how often to try is the pipeline's decision."""

    AGAIN = "again"
    NEXT_SIZE = "next-size"
    REPLACE = "replace"  # again after a pause, on a budget of its own: the job is not to blame
    STOP = "stop"


#: Each kind: what it means, and what helps.
KINDS: Mapping[Kind, tuple[str, Remedy]] = MappingProxyType(
    {
        Kind.ARTIFACT_DOWNLOAD: ("the node could not fetch what the task needs", Remedy.REPLACE),
        Kind.BAD_DATA: ("the job refused its input (exit code 65)", Remedy.STOP),
        Kind.DRIVER: ("the node could not set the task up or start it", Remedy.REPLACE),
        Kind.EXIT: ("the job ended with another exit code", Remedy.STOP),
        Kind.KILLED: ("somebody stopped the job, and not through penstock", Remedy.AGAIN),
        Kind.LOST: (
            "the job is gone and left no word: a power cut, a lost machine",
            Remedy.REPLACE,
        ),
        Kind.NO_FIT: ("the size is larger than any machine the runner has", Remedy.STOP),
        Kind.NO_MANIFEST: ("the job ended with 0 and committed nothing", Remedy.AGAIN),
        Kind.OOM: ("the job needed more memory than its size allows", Remedy.NEXT_SIZE),
        Kind.PREEMPTED: ("work of a higher priority took its place", Remedy.REPLACE),
        Kind.SIGNAL: ("something outside the runner killed the job", Remedy.AGAIN),
        Kind.STOPPED: ("the runner was asked to stop the job", Remedy.STOP),
        Kind.TEMPORARY: ("a passing condition: exit code 75, or no room in time", Remedy.AGAIN),
        Kind.TIMEOUT: ("the deadline of the attempt passed", Remedy.STOP),
    }
)

#: Exit codes that say more than "failed". 0 is no failure; 71 is a job that caught MemoryError.
EXIT_KINDS: Mapping[int, Kind | None] = MappingProxyType(
    {
        0: None,
        65: Kind.BAD_DATA,
        71: Kind.OOM,
        75: Kind.TEMPORARY,
    }
)

#: What a runner may know beyond exit code and signal, in the words of its records.
CAUSES: Mapping[str, Kind] = MappingProxyType(
    {
        "artifact-download": Kind.ARTIFACT_DOWNLOAD,
        "driver": Kind.DRIVER,
        "killed": Kind.KILLED,
        "lost": Kind.LOST,
        "no-fit": Kind.NO_FIT,
        "no-room": Kind.TEMPORARY,
        "oom": Kind.OOM,
        "preempted": Kind.PREEMPTED,
        "stopped": Kind.STOPPED,
        "timeout": Kind.TIMEOUT,
    }
)


class Usage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a job used: peak resident memory in MiB, seconds of processor and of wall clock."""

    peak_mb: float
    cpu_s: float
    wall_s: float


class Unknown(msgspec.Struct, frozen=True, tag="unknown"):
    """This runner never started the attempt, or cannot see it (another machine's)."""

    reason: str = "never started here"


class Queued(msgspec.Struct, frozen=True, tag="queued"):
    """Asked for, and waiting for room; `reason` says what for."""

    reason: str


class Starting(msgspec.Struct, frozen=True, tag="starting"):
    """Room is taken, the job's own program does not run yet; `reason` for what is unusual."""

    reason: str = ""


class Running(msgspec.Struct, frozen=True, tag="running"):
    """The job's program runs, or a process that it left behind does; `reason` as in Starting."""

    reason: str = ""


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The job ended; `kind` is None when it ended with exit code 0."""

    exit_code: int | None
    signal: int | None
    kind: Kind | None
    usage: Usage | None = None
    reason: str = ""


class Vanished(msgspec.Struct, frozen=True, tag="vanished"):
    """The job ran, runs no more, and nobody wrote down how it ended (a reboot, a killed shim)."""

    reason: str

    def as_ended(self) -> Ended:
        """The same as an end of kind `lost`, for callers that wait."""
        return Ended(None, None, Kind.LOST, reason=self.reason)


State = Unknown | Queued | Starting | Running | Ended | Vanished


def kind_of(exit_code: int | None, signal: int | None, cause: str | None = None) -> Kind | None:
    """The kind that exit code, signal and the runner's own knowledge add up to.

    Args:
        exit_code: what the process returned, None when it did not return.
        signal: the number of the signal that killed it, None when none did.
        cause: a word of `CAUSES`, or None.

    Raises:
        Corrupt: `cause` is no word of `CAUSES`, or nothing at all is known.
    """
    if cause is not None:
        if cause not in CAUSES:
            raise Corrupt(f"unknown cause {cause!r}", f"known are {', '.join(CAUSES)}")
        return CAUSES[cause]
    if signal is not None:
        return Kind.SIGNAL
    if exit_code is None:
        raise Corrupt("an end without exit code, signal or cause", "", "The record is damaged.")
    return EXIT_KINDS.get(exit_code, Kind.EXIT)


def remedy(kind: Kind) -> Remedy:
    """What helps against `kind`."""
    return KINDS[kind][1]
