"""The schedule: ticks, logical dates, catch-up, no overlap, deadlines; under an injected clock."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipelines import schedule
from pipelines.cadence import (
    Cadence,
    PretendClock,
    SystemClock,
    duration,
    launch_of,
    logical_date,
    time_of_day,
)
from pipelines.schedule import Launcher, Ran, ending, follow, missing_dates, only_one
from registry.errors import Refused, UsageError
from tests.pipelines.small import DAY, NAME, World, a_usecase

HOUR = dt.timedelta(hours=1)
DAILY = Cadence(24 * HOUR, 6 * HOUR)


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("3h", 10800), ("2d", 172800), ("day", 86400), ("hour", 3600)],
)
def test_durations(text: str, seconds: int):
    assert duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "3", "h", "0h", "-1h", "3 h", "1w", "٣h"])
def test_what_is_no_duration(text: str):
    with pytest.raises(UsageError):
        duration(text)


def test_times_of_day():
    assert time_of_day("06:30") == dt.timedelta(hours=6, minutes=30)
    for text in ("6:30", "24:00", "06:60", "0630"):
        with pytest.raises(UsageError):
            time_of_day(text)


@pytest.mark.parametrize(
    ("cadence", "moment", "last", "after"),
    [
        (DAILY, "2013-02-10 06:00", "2013-02-10 06:00", "2013-02-11 06:00"),
        (DAILY, "2013-02-10 05:59", "2013-02-09 06:00", "2013-02-10 06:00"),
        (Cadence(3 * HOUR, HOUR), "2013-02-10 00:30", "2013-02-09 22:00", "2013-02-10 01:00"),
        (Cadence(3 * HOUR, HOUR), "2013-02-10 13:59", "2013-02-10 13:00", "2013-02-10 16:00"),
    ],
)
def test_ticks(cadence: Cadence, moment: str, last: str, after: str):
    assert (cadence.last(at(moment)), cadence.after(at(moment))) == (at(last), at(after))


def test_ticks_may_not_wander():
    with pytest.raises(UsageError, match="does not divide a day"):
        Cadence(7 * HOUR)


def test_a_tick_is_for_the_day_that_is_over():
    assert logical_date(at("2013-02-10 06:00")) == dt.date(2013, 2, 9)


def test_data_that_come_late():
    assert logical_date(at("2013-02-10 06:00"), dt.timedelta(days=2)) == dt.date(2013, 2, 7)
    assert logical_date(at("2013-02-10 06:00"), 7 * HOUR) == dt.date(2013, 2, 8)


def test_the_id_of_a_launch_says_when_it_was_due():
    due = at("2013-02-10 05:30")
    assert launch_of(f"penstock-pipeline-flights/periodic-{due.timestamp():.0f}") == due
    for other in ("", "penstock-train-s", "x/dispatch-1-1", "periodic-1360474200", "x/periodic-0"):
        assert launch_of(other) is None


class Runs:
    """Makes dates at once, or as told; remembers them."""

    def __init__(self) -> None:
        self.dates: list[dt.date] = []
        self.done: set[dt.date] = set()
        self.failing: set[dt.date] = set()

    def missing(self, date: dt.date, catch_up: int = 3) -> list[dt.date]:
        dates = [date - dt.timedelta(days=back) for back in range(catch_up - 1, -1, -1)]
        return [day for day in dates if day not in self.done]

    def launch(self, date: dt.date, tick: dt.datetime) -> Ran:
        self.dates.append(date)
        failed = date in self.failing
        if not failed:
            self.done.add(date)
        outcome = "failed" if failed else "done"
        return Ran(str(date), str(tick), outcome, 65 if failed else 0, 0.0)  # type: ignore[arg-type]


def days(*numbers: int) -> list[dt.date]:
    return [dt.date(2013, 2, number) for number in numbers]


def play(runs: Runs, start: str = "2013-02-10 06:00", **about) -> list[Ran]:
    clock = PretendClock(at(start), threading.Event())
    return list(follow(DAILY, clock, runs.missing, runs.launch, **about))


def test_once_catches_up_in_order_and_ends():
    runs = Runs()
    runs.done = set(days(8))
    play(runs, once=True)
    assert runs.dates == days(7, 9)
    assert play(runs, once=True) == []


def test_each_day_makes_the_day_before():
    runs = Runs()
    play(runs, last=dt.date(2013, 2, 12))
    assert runs.dates == days(7, 8, 9, 10, 11, 12)


def test_a_lag_moves_every_date():
    runs = Runs()
    play(runs, last=dt.date(2013, 2, 9), lag=dt.timedelta(days=1))
    assert runs.dates == days(6, 7, 8, 9)


def test_a_failed_date_is_tried_again_and_holds_up_nothing():
    runs = Runs()
    runs.failing = set(days(9))
    play(runs, last=dt.date(2013, 2, 10))
    assert runs.dates == days(7, 8, 9, 9, 10)


def test_ticks_that_pass_during_a_run_are_made_up_for():
    runs, stop = Runs(), threading.Event()
    clock = PretendClock(at("2013-02-10 06:00"), stop)

    def slow(date: dt.date, tick: dt.datetime) -> Ran:
        if date == dt.date(2013, 2, 9):
            clock.wait(at("2013-02-12 12:00"))
        return runs.launch(date, tick)

    list(follow(DAILY, clock, runs.missing, slow, last=dt.date(2013, 2, 12)))
    assert runs.dates == days(7, 8, 9, 10, 11, 12)


def test_a_stop_ends_the_wait():
    stop = threading.Event()
    stop.set()
    assert not SystemClock(stop).wait(SystemClock(stop).now() + HOUR)
    assert not PretendClock(at("2013-02-10 06:00"), stop).wait(at("2013-02-11 06:00"))
    assert SystemClock(threading.Event()).wait(at("2013-02-11 06:00"))


def a_launcher(program: str, tmp_path: Path, deadline: float | None = None) -> Launcher:
    stop = threading.Event()
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)

    def words(date: dt.date) -> list[str]:
        return [sys.executable, "-c", program, str(date)]

    return Launcher(words, deadline, stop, lock=lock)


@pytest.mark.parametrize(("code", "outcome"), [(0, "done"), (65, "failed")])
def test_a_run_is_a_process(tmp_path: Path, code: int, outcome: str):
    ran = a_launcher(f"raise SystemExit({code})", tmp_path).launch(DAY, at("2020-01-11 06:00"))
    assert (ran.outcome, ran.exit_code, ran.date) == (outcome, code, "2020-01-10")


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_run_that_hangs_is_ended(tmp_path: Path, stubborn: bool, monkeypatch):
    monkeypatch.setattr(schedule, "GRACE", 0.2)
    ignore = "import signal; signal.signal(15, signal.SIG_IGN);" if stubborn else ""
    launcher = a_launcher(f"{ignore}import time; time.sleep(600)", tmp_path, deadline=0.5)
    assert launcher.launch(DAY, at("2020-01-11 06:00")).outcome == "deadline"


def test_sigterm_ends_the_run_and_starts_no_other(tmp_path: Path):
    launcher = a_launcher("import time; time.sleep(600)", tmp_path)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    clock = PretendClock(at("2020-01-11 06:00"), threading.Event())
    with ending(launcher):
        ran = list(follow(DAILY, clock, lambda _: [DAY, DAY], launcher.launch))
    assert [each.outcome for each in ran] == ["stopped"]
    assert launcher.launch(DAY, clock.now()).outcome == "stopped"


def test_one_schedule_at_a_time(tmp_path: Path):
    with (
        only_one(tmp_path, "dev-flights"),
        only_one(tmp_path, "dev-other"),
        pytest.raises(Refused, match="scheduled on this machine already"),
        only_one(tmp_path, "dev-flights"),
    ):
        pass
    with only_one(tmp_path, "dev-flights"):
        pass


def test_a_run_counts_even_without_its_schedule(tmp_path: Path):
    with only_one(tmp_path, "dev-flights") as lock:
        orphan = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=(lock,)
        )
    with pytest.raises(Refused), only_one(tmp_path, "dev-flights"):
        pass
    orphan.kill()
    orphan.wait()
    with only_one(tmp_path, "dev-flights"):
        pass


def test_what_is_complete_is_not_missing(world: World, monkeypatch):
    monkeypatch.setattr(schedule, "load_usecase", lambda _: a_usecase())
    monkeypatch.setattr(schedule, "Session", lambda _: world.session())
    world.run(DAY)
    one = dt.timedelta(days=1)
    assert missing_dates(world.session().settings, NAME, DAY + one, 3) == [DAY - one, DAY + one]
    # The sources begin on the first, and end on the 31st.
    last = dt.date(2020, 2, 1)
    assert missing_dates(world.session().settings, NAME, last, 3) == [dt.date(2020, 1, 30)]
