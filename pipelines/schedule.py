"""A schedule on one machine, with the semantics of a periodic job.

Each tick is for a logical date, the last day that is over. Dates that were missed are caught up
with in order. Nothing overlaps: one schedule of a use case at a time, one run after the other.
Each run is a process with a deadline, so that one that hangs cannot hold up the next.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Literal

import msgspec

from pipelines.cadence import Cadence, Clock, logical_date
from pipelines.plan import is_complete
from pipelines.run import root_task
from pipelines.session import Session, using
from registry.errors import Refused
from registry.settings import Settings
from registry.usecase import load_usecase

#: Seconds that a run is given to end after SIGTERM.
GRACE = 10.0


class Ran(msgspec.Struct, frozen=True):
    """One run of a schedule. `exit_code` is None when it had to be killed."""

    date: str
    tick: str
    outcome: Literal["done", "failed", "deadline", "stopped"]
    exit_code: int | None
    seconds: float


def missing_dates(settings: Settings, usecase: str, date: dt.date, catch_up: int) -> list[dt.date]:
    """Of `date` and the `catch_up` - 1 dates before it, those that are not complete, in order."""
    known = load_usecase(usecase)
    dates = [date - dt.timedelta(days=back) for back in range(catch_up - 1, -1, -1)]
    possible = [day for day in dates if known.first_date < day < known.last_date]
    with using(Session(settings)):
        return [day for day in possible if not is_complete(root_task(usecase, day))]


def follow(
    cadence: Cadence,
    clock: Clock,
    missing: Callable[[dt.date], Sequence[dt.date]],
    launch: Callable[[dt.date, dt.datetime], Ran],
    *,
    once: bool = False,
    last: dt.date | None = None,
    lag: dt.timedelta = dt.timedelta(),
) -> Iterator[Ran]:
    """Run what is due, tick after tick, beginning with the tick that has just passed.

    Ticks that pass during a run are made up for by the next one, which catches up.

    Args:
        missing: the dates that a tick for this logical date has to make.
        launch: makes one date; returns when its run has ended.
        once: end after the first tick.
        last: the last logical date.
        lag: how long after its end the data of a day are there.
    """
    tick = cadence.last(clock.now())
    while last is None or logical_date(tick, lag) <= last:
        for date in missing(logical_date(tick, lag)):
            ran = launch(date, tick)
            yield ran
            if ran.outcome == "stopped":
                return
        if once:
            return
        tick = cadence.after(max(tick, clock.now()))
        if last is not None and logical_date(tick, lag) > last:
            return
        if not clock.wait(tick):
            return


class Launcher:
    """Runs dates as processes, each with a deadline (seconds; None: none).

    Args:
        command: the words that make a date.
        lock: a descriptor that each run holds, so that it counts even without its schedule.
    """

    def __init__(
        self, command: Callable[[dt.date], list[str]], deadline: float | None,
        stop: threading.Event, *, lock: int, quiet: bool = False,
    ) -> None:  # fmt: skip
        self._command = command
        self._deadline = deadline
        self._stop = stop
        self._lock = lock
        self._quiet = quiet
        self._child: subprocess.Popen[bytes] | None = None

    def launch(self, date: dt.date, tick: dt.datetime) -> Ran:
        """Run one date to its end, or to its deadline."""
        started = dt.datetime.now(dt.UTC)
        if self._stop.is_set():
            return self._ran(date, tick, started, "stopped", None)
        out = subprocess.DEVNULL if self._quiet else None
        # A group of its own: a terminal's Ctrl-C is for the schedule, which leaves the jobs.
        with subprocess.Popen(
            self._command(date), stdout=out, pass_fds=(self._lock,), process_group=0
        ) as child:
            self._child = child
            try:
                code: int | None = child.wait(self._deadline)
            except subprocess.TimeoutExpired:
                _end(child)
                return self._ran(date, tick, started, "deadline", None)
            finally:
                self._child = None
        if self._stop.is_set():
            return self._ran(date, tick, started, "stopped", code)
        return self._ran(date, tick, started, "done" if code == 0 else "failed", code)

    def stop(self) -> None:
        """End the run that is under way; its jobs go on, and the next run finds them."""
        self._stop.set()
        child = self._child
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                child.terminate()

    def _ran(
        self, date: dt.date, tick: dt.datetime, started: dt.datetime,
        outcome: Literal["done", "failed", "deadline", "stopped"], code: int | None,
    ) -> Ran:  # fmt: skip
        seconds = (dt.datetime.now(dt.UTC) - started).total_seconds()
        return Ran(date.isoformat(), tick.isoformat(), outcome, code, seconds)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@contextlib.contextmanager
def only_one(var: Path, name: str) -> Iterator[int]:
    """Hold the lock of a schedule; yields its descriptor.

    Raises:
        Refused: another schedule, or the run that one started, holds it.
    """
    folder = var.absolute() / "schedules"
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(
                f"{name} is scheduled on this machine already",
                "two schedules of one use case would overlap",
                "End the other one (Ctrl-C, or SIGTERM), or wait until its last run has ended.",
            ) from None
        yield lock
    finally:
        os.close(lock)


@contextlib.contextmanager
def ending(launcher: Launcher) -> Iterator[None]:
    """SIGTERM ends the schedule cleanly: no new run, the present one is told to end."""

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        launcher.stop()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
