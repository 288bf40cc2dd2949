"""What `penstock orphans` says and ends; how orphans are found has tests of its own."""

from __future__ import annotations

import pytest

from pipelines.orphans import Orphan
from pipelines.runners.protocol import LiveJob
from registry.artifacts.attempt import Attempt
from tests.contracts.rigs import new_attempt
from tests.penstock.conftest import Place


def test_nothing_goes_on(place: Place) -> None:
    assert "No job goes on" in place.ok("orphans").out
    assert place.ok("orphans", "--json").document == {"orphans": [], "stopped": False}


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Orphan]:
    """One orphan for sure, and one that another run may have found."""
    attempts = [new_attempt(step=f"train flights {n}") for n in range(2)]
    jobs = [LiveJob(attempt.path, f"job-{n}") for n, attempt in enumerate(attempts)]
    orphans = [
        Orphan(jobs[0], attempts[0], "its pipeline is gone"),
        Orphan(jobs[1], attempts[1], "its pipeline is gone", "run-2"),
    ]
    monkeypatch.setattr("pipelines.orphans.find_orphans", lambda *_: orphans)
    return orphans


@pytest.mark.usefixtures("found")
def test_orphans_are_listed_with_the_reason(place: Place) -> None:
    done = place.ok("orphans")
    assert "orphan   train flights 0" in done.out
    assert "left     train flights 1" in done.out
    assert "its pipeline is gone; run run-2 may have found it" in done.out
    assert "next: penstock orphans --stop" in done.out


def test_only_what_nobody_may_wait_for_is_stopped(
    place: Place, found: list[Orphan], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[Attempt] = []
    monkeypatch.setattr("pipelines.stop.stop_attempts", lambda *words: stopped.extend(words[2]))
    document = place.ok("orphans", "--stop", "--json").document
    assert stopped == [found[0].attempt]
    assert [row["taken_over"] for row in document["orphans"]] == [None, "run-2"]
    assert document["stopped"] is True
