"""Run records: who asked for what, with which code and plan, and how it ended."""

from __future__ import annotations

import datetime as dt
import os
import platform
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from pipelines.runners.shim import birth
from registry.artifacts import layout
from registry.artifacts.catalog import read_many
from registry.artifacts.provenance import Code
from registry.artifacts.records import decode_record, encode_record
from registry.artifacts.store.once import create_once
from registry.artifacts.store.protocol import Store
from registry.errors import NotFound

#: reuse: the artifact is there. run: a job will make it. decide: a verdict or pin is due first.
Action = Literal["reuse", "run", "decide"]
#: running: its process is on this machine. interrupted: it is not, and recorded no end.
#: unfinished: another machine's, without an end.
RunState = Literal["succeeded", "failed", "stopped", "running", "interrupted", "unfinished"]
_END = ".end.json"


class PlannedStep(msgspec.Struct, frozen=True):
    """One step: what happens to it and why.

    `key` is None where only the run will tell, and so is `path`, where the manifest is or will
    be. `seconds` is the median of what earlier jobs of
    the same kind took, None where there were none.
    """

    step: str
    action: Action
    why: str
    key: str | None
    size: str | None = None
    seconds: float | None = None
    path: str | None = None


class Process(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The process of a run: machine, process id, and its start in clock ticks since boot.

    `allocation` is that of Nomad, where the pipeline runs as a task of it.
    """

    host: str
    pid: int
    birth: int | None
    allocation: str = ""

    @property
    def lives(self) -> bool | None:
        """Whether it is there; None where this machine cannot tell."""
        if self.host != platform.node() or self.birth is None:
            return None
        return birth(self.pid) == self.birth


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The start of a run: `asked` holds the command's words (use case, date, changes).

    `planned` is what the plan said before it; empty for runs that nobody planned.
    """

    run: str
    who: str
    asked: dict[str, Any]
    commit: str
    dirty: bool
    lock: str
    started: str
    planned: list[PlannedStep] = []
    process: Process | None = None


class RunEnd(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The end of a run: "succeeded", "failed" or "stopped", keys committed, messages of failures."""

    run: str
    status: str
    made: list[str]
    failed: list[str]
    ended: str
    seconds: float


Recorded = tuple[Run, RunEnd | None]


def new_run_id() -> str:
    """A name for a run that sorts by time: 20130630T021500-3f9a1c.

    The last six digits are the fraction of the second, in 4096ths, and three drawn by chance.
    """
    now = dt.datetime.now(dt.UTC)
    fraction = now.microsecond * 4096 // 1_000_000
    return f"{now:%Y%m%dT%H%M%S}-{fraction:03x}{secrets.randbelow(4096):03x}"


def now() -> str:
    """The present time as ISO 8601 in UTC, to the millisecond."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


def unix(when: str) -> float:
    """An ISO time as Unix seconds."""
    return dt.datetime.fromisoformat(when).timestamp()


def start_run(
    store: Store,
    run: str,
    who: str,
    asked: dict[str, Any],
    code: Code,
    planned: Sequence[PlannedStep] = (),
) -> Run:
    """Record that a run starts, in this process."""
    process = Process(
        platform.node(), os.getpid(), birth(os.getpid()), os.environ.get("NOMAD_ALLOC_ID", "")
    )
    record = Run(run, who, asked, code.commit, code.dirty, code.lock, now(), list(planned), process)
    create_once(store, layout.run_path(run), encode_record(record))
    return record


def end_run(store: Store, end: RunEnd) -> None:
    """Record how a run ended."""
    create_once(store, layout.run_path(f"{end.run}.end"), encode_record(end))


def list_runs(
    store: Store, limit: int = 20, wanted: Callable[[Run, RunEnd | None], bool] | None = None
) -> list[Recorded]:
    """The newest runs first, each with its end if it has one; of those that are `wanted`."""
    found: list[Recorded] = []
    for recorded in _newest_first(store, limit):
        if wanted is None or wanted(*recorded):
            found.append(recorded)
        if len(found) == limit:
            break
    return found


def _newest_first(store: Store, batch: int) -> Iterator[Recorded]:
    listed = set(store.list("runs/"))
    starts = sorted(p for p in listed if p.endswith(".json") and not p.endswith(_END))[::-1]
    for first in range(0, len(starts), batch):
        part = starts[first : first + batch]
        ends = [end for path in part if (end := path.removesuffix(".json") + _END) in listed]
        data = dict(read_many(store, [*part, *ends]))
        for path in part:
            if path in data:
                yield _decoded(path, data[path], data.get(path.removesuffix(".json") + _END))


def read_run(store: Store, run: str) -> Recorded:
    """One run. Raises NotFound."""
    path = layout.run_path(run)
    try:
        end = store.get(layout.run_path(f"{run}.end"))
    except NotFound:
        end = None
    return _decoded(path, store.get(path), end)


def _decoded(path: str, start: bytes, end: bytes | None) -> Recorded:
    run = decode_record(start, Run, path, "run record")
    if end is None:
        return run, None
    return run, decode_record(end, RunEnd, layout.run_path(f"{run.run}.end"), "end of a run")


def state_of(run: Run, end: RunEnd | None) -> RunState:
    """How a run stands, as far as this machine can tell."""
    if end is not None:
        known: dict[str, RunState] = {"succeeded": "succeeded", "stopped": "stopped"}
        return known.get(end.status, "failed")
    lives = run.process.lives if run.process else None
    return "unfinished" if lives is None else "running" if lives else "interrupted"


def asked_words(run: Run) -> str:
    """What a run was asked for, as it would be typed: "flights 2013-02-10 lightgbm.leaves=15".

    Commands other than `run` are named.
    """
    command = str(run.asked.get("command", "run")).removeprefix("run")
    words = [command, *(str(run.asked.get(name, "")) for name in ("usecase", "date"))]
    changes = [
        f"{algorithm}.{name}={value}"
        for algorithm, changed in (run.asked.get("changes") or {}).items()
        for name, value in changed.items()
    ]
    tried = [str(word) for word in run.asked.get("set") or ()]
    return " ".join(word for word in [*words, *changes, *tried] if word)
