"""Stopping what a run, or one artifact, has under way.

A request is recorded first, so that the pipeline of the run starts nothing new; then the jobs of
its attempts are ended by the runner. Only attempts of this machine (or of a runner that sees all
machines) can be stopped from here.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Sequence

import msgspec

from pipelines.errors import JobFailed
from pipelines.runners.protocol import Runner
from pipelines.runners.states import Kind
from pipelines.runs import RunEnd, end_run, now, read_run
from registry.artifacts import layout
from registry.artifacts.attempt import (
    Attempt,
    AttemptEnd,
    close_attempt,
    is_record,
    read_attempt,
)
from registry.artifacts.records import encode_record
from registry.artifacts.store.once import create_once, write_id
from registry.artifacts.store.protocol import Store
from registry.errors import NotFound

#: Seconds in which a stopped job, and the pipeline that waits for it, are given to end.
PATIENCE = 20.0
#: Seconds for which "nobody asked for a stop" is believed.
BELIEVED = 1.0


class StopRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who wants a run to stop, why and when."""

    run: str
    who: str
    why: str
    when: str
    write_id: str


def is_stopping(store: Store, run: str) -> bool:
    """Whether somebody asked for the run to stop."""
    try:
        store.size(layout.stop_path(run))
    except NotFound:
        return False
    return True


class StopSign:
    """Whether a run is to stop, asked of the store at most once a second. Shared by threads."""

    def __init__(self, store: Store, run: str) -> None:
        self._store = store
        self._run = run
        self._lock = threading.Lock()
        self._asked_at = -BELIEVED
        self._up = False

    def is_up(self, *, now: bool = False) -> bool:
        """Whether it is; with `now`, as of this moment. Once it is, it stays so."""
        with self._lock:
            stale = now or time.monotonic() - self._asked_at >= BELIEVED
            if not self._up and stale:
                self._up = is_stopping(self._store, self._run)
                self._asked_at = time.monotonic()
            return self._up


def stopped(step: str) -> JobFailed:
    """The failure of a step that was not begun, because its run is to stop."""
    return JobFailed(
        f"{step} was not started", "the run is being stopped", "Run it again to go on.",
        Kind.STOPPED, None,
    )  # fmt: skip


def open_attempts(store: Store, *, run: str = "", key: str = "") -> list[Attempt]:
    """The attempts without a recorded end: of a run, or at keys that start with `key`."""
    paths = set(store.list("attempts/"))
    unended = [
        path
        for path in sorted(paths)
        if is_record(path) and path.removesuffix(".json") + ".end.json" not in paths
    ]
    wanted = [path for path in unended if path.startswith(f"attempts/{key}")]
    attempts = (read_attempt(store, path) for path in wanted)
    return [attempt for attempt in attempts if run in ("", attempt.run)]


def stop_run(
    store: Store, runner: Runner, run: str, *, who: str = "", why: str = ""
) -> list[Attempt]:
    """Stop a run: ask its pipeline to begin nothing new, and end its jobs; returns these.

    Raises:
        NotFound: there is no such run.
        RunnerAway: its jobs cannot be reached; it begins nothing new all the same.
    """
    _, end = read_run(store, run)
    if end is not None:
        return []
    ended = _stop_jobs(store, runner, run, who, why)
    _await_end(store, run)
    return ended


def stop_own_run(
    store: Store, runner: Runner, run: str, made: Sequence[str], *, who: str = "", why: str = ""
) -> list[Attempt]:
    """Stop the run of this process, whose pipeline has left its loop; `made` are its artifacts.

    Raises:
        RunnerAway: its jobs cannot be reached.
    """
    ended = _stop_jobs(store, runner, run, who, why)
    _end(store, run, made)
    return ended


def _stop_jobs(store: Store, runner: Runner, run: str, who: str, why: str) -> list[Attempt]:
    when = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    request = StopRequest(run, who, why, when, write_id())
    create_once(store, layout.stop_path(run), encode_record(request))
    return stop_attempts(store, runner, open_attempts(store, run=run))


def stop_attempts(store: Store, runner: Runner, attempts: list[Attempt]) -> list[Attempt]:
    """End the jobs of those attempts that this runner sees, and record it; returns these."""
    mine = [attempt for attempt in attempts if sees(runner, attempt)]
    for attempt in mine:
        runner.stop(attempt)
    deadline = time.monotonic() + PATIENCE
    return [each for each in mine if _close(store, runner, each, deadline - time.monotonic())]


def sees(runner: Runner, attempt: Attempt) -> bool:
    """Whether the attempt is one of the runner's world: its kind, and its machine if it has one."""
    return attempt.runner == runner.name and runner.host in ("", attempt.host)


def _close(store: Store, runner: Runner, attempt: Attempt, patience: float) -> bool:
    """Record how a stopped attempt ended, as its pipeline would; whether it was stopped."""
    ended = runner.wait(attempt, max(0.0, patience))
    if ended is None or ended.kind != Kind.STOPPED:
        return False
    used = msgspec.structs.asdict(ended.usage) if ended.usage else {}
    end = AttemptEnd(Kind.STOPPED.value, ended.reason, ended.exit_code, used, time.time())
    close_attempt(store, attempt, end, runner.log_tail(attempt))
    return True


def _await_end(store: Store, run: str) -> None:
    """Give the run's pipeline time to record its end; where there is none any more, do it here."""
    deadline = time.monotonic() + PATIENCE
    _, end = read_run(store, run)
    while end is None and time.monotonic() < deadline:
        time.sleep(0.1)
        _, end = read_run(store, run)
    if end is None:
        _end(store, run, [])


def _end(store: Store, run: str, made: Sequence[str]) -> None:
    record, end = read_run(store, run)
    if end is None:
        started = dt.datetime.fromisoformat(record.started)
        seconds = (dt.datetime.now(dt.UTC) - started).total_seconds()
        failed = ["stopped on request"]
        end_run(store, RunEnd(run, "stopped", list(made), failed, now(), seconds))
