"""`penstock schedule` as a person meets it, with runs that end at once."""

from __future__ import annotations

import datetime as dt
import sys

import pytest

from tests.penstock.conftest import Place
from tests.penstock.test_runs import WORDS, jobs

__all__ = ["jobs"]  # a fixture
PRETEND = ("flights", "--from", "2013-01-05", "--to", "2013-01-06")


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        ("flight", 64, "flights"),
        ("flights --every 7h", 64, "divide a day"),
        ("flights --every often", 64, "'often'"),
        ("flights --at 6", 64, "'6'"),
        ("flights --deadline soon", 64, "'soon'"),
        ("flights --catch-up 0", 64, "--catch-up"),
        ("flights --lag never", 64, "'never'"),
    ],
)
def test_words_that_are_off(place: Place, words: str, code: int, named: str) -> None:
    done = place.call("schedule", *words.split())
    assert done.code == code, done.err
    assert named in done.err


def runs_that(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    def command(args, date) -> list[str]:
        return [sys.executable, "-c", program, str(date)]

    monkeypatch.setattr("pipelines.commands.schedule.command", command)


def test_days_of_another_year(place: Place, monkeypatch) -> None:
    runs_that(monkeypatch, "pass")
    text = place.ok("schedule", *PRETEND).out
    assert "2013-01-05 00:00 UTC  due: 2013-01-04" in text
    assert "2013-01-05  done after" in text
    assert "The schedule has ended after 2 runs." in text
    document = place.ok("schedule", *PRETEND, "--catch-up", "2", "--json").document
    # Nothing was made, so each day is due twice.
    dates = [run["date"] for run in document["runs"]]
    assert dates == ["2013-01-03", "2013-01-04", "2013-01-04", "2013-01-05"]


def test_a_run_that_fails_is_told(place: Place, monkeypatch) -> None:
    runs_that(monkeypatch, "raise SystemExit(65)")
    done = place.call("schedule", *PRETEND, "--once")
    assert done.code == 65
    assert "2013-01-04  failed with exit code 65" in done.out


def test_a_launch_of_nomad_makes_the_tick_it_was_due_for(place: Place, monkeypatch) -> None:
    runs_that(monkeypatch, "pass")
    due = dt.datetime(2013, 2, 10, 5, 30, tzinfo=dt.UTC).timestamp()
    job = f"penstock-pipeline-flights/periodic-{due:.0f}"
    words = ("schedule", "flights", "--catch-up", "2", "--json")
    document = place.ok(*words, NOMAD_JOB_ID=job).document
    assert [run["date"] for run in document["runs"]] == ["2013-02-08", "2013-02-09"]
    assert {run["tick"] for run in document["runs"]} == {"2013-02-10T05:30:00+00:00"}
    late = place.ok(*words, "--lag", "3d", NOMAD_JOB_ID=job).document
    assert [run["date"] for run in late["runs"]] == ["2013-02-05", "2013-02-06"]


@pytest.mark.usefixtures("jobs")
def test_what_is_there_is_left_alone(place: Place, monkeypatch) -> None:
    place.ok("run", *WORDS)
    runs_that(monkeypatch, "raise SystemExit(70)")
    text = place.ok("schedule", "flights", "--from", "2013-01-05", "--once").out
    assert "ended after 0 runs" in text
    assert "next: penstock status" in text


def test_the_words_of_a_run() -> None:
    import argparse

    from pipelines.commands.schedule import command

    flags = {"store": "s3://models/team", "environment": None, "log_level": None}
    args = argparse.Namespace(usecase="flights", flags=flags)
    words = command(args, dt.date(2013, 2, 10))
    assert words[1:] == [
        "-m", "penstock", "run", "flights", "--date", "2013-02-10", "--store", "s3://models/team",
    ]  # fmt: skip
