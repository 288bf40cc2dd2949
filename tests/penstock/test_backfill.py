"""`penstock backfill` as a person meets it, with jobs that commit at once."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.penstock.conftest import Place
from tests.penstock.test_runs import Jobs, jobs

__all__ = ["jobs"]  # a fixture
RANGE = ("flights", "--from", "2013-01-04", "--to", "2013-01-06")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("flights --from 2013-01-06 --to 2013-01-04", "after"),
        ("flights --from 2013-01-06", "--to"),
        ("flight --from 2013-01-04 --to 2013-01-06", "flights"),
        ("flights --from 2013-12-30 --to 2014-01-02", "2013-01-01 to 2013-12-31"),
        ("flights --from 2013-01-04 --to 2013-01-06 --parallel 0", "--parallel"),
        ("flights --from 2013-01-04 --to 2013-01-06 --order random", "--order"),
    ],
)
def test_words_that_are_off(place: Place, words: str, named: str) -> None:
    done = place.call("backfill", *words.split())
    assert done.code == 64, done.err
    assert named in done.err
    assert not (place.folder / "var").exists()


def test_a_dry_run_plans_and_writes_nothing(place: Place) -> None:
    text = place.ok("backfill", *RANGE, "--dry-run").out
    assert re.search(r"3 dates: \d+ to run, \d+ decided on the way", text)
    assert "next: penstock backfill flights --from 2013-01-04 --to 2013-01-06" in text
    assert not (place.folder / "var").exists()


@pytest.mark.usefixtures("jobs")
def test_it_plans_runs_and_tells_each_date(place: Place) -> None:
    document = place.ok("backfill", *RANGE, "--parallel", "3", "--json").document
    assert [day["predicted"] for day in document["dates"]] == [True] * 3
    assert Counter(document["counts"])["run"] > 0
    text = place.ok("backfill", *RANGE).out
    assert "Nothing to do: everything is there." in text
    assert re.search(
        r"2013-01-05  published [0-9a-f]{16} as revision 2; dayahead: published .*  there", text
    )
    runs = place.ok("status").out
    assert len(re.findall(r"flights 2013-01-04\.\.2013-01-06", runs)) == 1


def test_one_that_failed_is_told_with_the_way_to_go_on(place: Place, jobs: Jobs) -> None:
    jobs.broken = "predict"
    assert place.call("backfill", *RANGE).code == 65
    run = place.ok("status", "--json").document["runs"][0]["run"]["run"]
    shown = place.ok("status", run).out
    assert "flights 2013-01-04..2013-01-06" in shown
