"""`penstock stop`, and Ctrl-C once and twice."""

from __future__ import annotations

import pytest

from pipelines.commands import interrupt
from tests.penstock.conftest import Place
from tests.penstock.test_runs import WORDS, jobs

__all__ = ["jobs"]  # a fixture


@pytest.mark.parametrize(("word", "code"), [("yesterday", 64), ("20200110T000000-000000", 66)])
def test_what_is_no_run(place: Place, word: str, code: int) -> None:
    assert place.call("stop", word).code == code


@pytest.mark.usefixtures("jobs")
def test_nothing_is_under_way(place: Place) -> None:
    run = place.ok("run", *WORDS, "--json").document
    for word in (run["run"], run["made"][0][:16]):
        text = place.ok("stop", word).out
        assert "Nothing was under way." in text
        assert "next: penstock status" in text
    assert place.ok("stop", run["run"], "--json").document == {"stopped": [], "left": []}


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("jobs")
def test_ctrl_c_once_leaves_jobs_and_says_how_to_find_them(place: Place, monkeypatch) -> None:
    monkeypatch.setattr("pipelines.run._build", _interrupted)
    done = place.call("run", *WORDS)
    assert done.code == 130
    assert "`penstock run flights --date 2013-01-04` finds them again" in done.err


@pytest.mark.usefixtures("jobs")
def test_ctrl_c_twice_stops_them(place: Place, monkeypatch) -> None:
    def build(session, roots) -> None:
        session.begin()
        raise KeyboardInterrupt

    def stop(store, runner, run: str, **_: str) -> list[str]:
        stopped.append(run)
        return []

    stopped: list[str] = []
    monkeypatch.setattr("pipelines.run._build", build)
    monkeypatch.setattr("pipelines.stop.stop_run", stop)
    done = place.call("run", *WORDS)
    assert "`penstock stop 2" in done.err
    assert stopped == []
    monkeypatch.setattr(interrupt, "_somebody_watches", lambda: True)
    monkeypatch.setattr("time.sleep", _interrupted)
    done = place.call("run", *WORDS)
    assert done.code == 130
    assert "Ctrl-C within 3 s" in done.err
    assert len(stopped) == 1
