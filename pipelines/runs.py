"""Run records: who asked for what, with which code, and how it ended."""

from __future__ import annotations

import datetime as dt
import secrets
from typing import Any

import msgspec

from registry.artifacts import layout
from registry.artifacts.provenance import Code
from registry.artifacts.records import decode_record, encode_record
from registry.artifacts.store.once import create_once
from registry.artifacts.store.protocol import Store
from registry.errors import NotFound


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The start of a run: `asked` holds the command's words (use case, date, changes)."""

    run: str
    who: str
    asked: dict[str, Any]
    commit: str
    dirty: bool
    lock: str
    started: str


class RunEnd(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The end of a run: "succeeded" or "failed", keys committed, messages of failed steps."""

    run: str
    status: str
    made: list[str]
    failed: list[str]
    ended: str
    seconds: float


def new_run_id() -> str:
    """A name for a run that sorts by time: 20130630T021500-3f9a1c."""
    now = dt.datetime.now(dt.UTC)
    return f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def now() -> str:
    """The present time as ISO 8601 in UTC."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def start_run(store: Store, run: str, who: str, asked: dict[str, Any], code: Code) -> Run:
    """Record that a run starts."""
    record = Run(run, who, asked, code.commit, code.dirty, code.lock, now())
    create_once(store, layout.run_path(run), encode_record(record))
    return record


def end_run(store: Store, end: RunEnd) -> None:
    """Record how a run ended."""
    create_once(store, layout.run_path(f"{end.run}.end"), encode_record(end))


def list_runs(store: Store, limit: int = 20) -> list[tuple[Run, RunEnd | None]]:
    """The newest runs first, each with its end if it has one."""
    paths = [path for path in store.list("runs/") if not path.endswith(".end.json")]
    return [_with_end(store, path) for path in sorted(paths, reverse=True)[:limit]]


def read_run(store: Store, run: str) -> tuple[Run, RunEnd | None]:
    """One run. Raises NotFound."""
    return _with_end(store, layout.run_path(run))


def _with_end(store: Store, path: str) -> tuple[Run, RunEnd | None]:
    run = decode_record(store.get(path), Run, path, "run record")
    end_path = layout.run_path(f"{run.run}.end")
    try:
        return run, decode_record(store.get(end_path), RunEnd, end_path, "end of a run")
    except NotFound:
        return run, None
