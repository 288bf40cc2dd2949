"""`penstock stop`, and Ctrl-C once and twice, SIGTERM."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pipelines.commands.interrupt import TERMINATED
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


def _begun(interrupted: BaseException) -> Callable[..., None]:
    """A run that has begun when it is interrupted."""

    def build(session: Any, roots: object) -> None:
        session.begin()
        raise interrupted

    return build


@pytest.mark.usefixtures("jobs")
def test_ctrl_c_stops_the_jobs_of_the_run(place: Place, monkeypatch) -> None:
    stopped: list[str] = []

    def stop(store: object, runner: object, run: str, made: object, **_: str) -> list[str]:
        stopped.append(run)
        return []

    monkeypatch.setattr("pipelines.run._build", _begun(KeyboardInterrupt()))
    monkeypatch.setattr("pipelines.stop.stop_own_run", stop)
    done = place.call("run", *WORDS)
    assert done.code == 130
    assert len(stopped) == 1
    assert "Ctrl-C again leaves them" in done.err
    assert "`penstock run flights --date 2013-01-04` goes on" in done.err


@pytest.mark.usefixtures("jobs")
def test_a_run_that_ctrl_c_stopped_has_ended(place: Place, monkeypatch) -> None:
    monkeypatch.setattr("pipelines.run._build", _begun(KeyboardInterrupt()))
    assert place.call("run", *WORDS).code == 130
    (run,) = place.ok("status", "--json").document["runs"]
    assert run["status"] == "stopped"


@pytest.mark.usefixtures("jobs")
def test_ctrl_c_again_leaves_the_jobs_and_says_how_to_find_them(place: Place, monkeypatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.run._build", _begun(KeyboardInterrupt()))
    monkeypatch.setattr("pipelines.stop.stop_own_run", stop)
    done = place.call("run", *WORDS)
    assert done.code == 130
    assert "`penstock run flights --date 2013-01-04` finds them again" in done.err
    assert "`penstock stop 2" in done.err


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT below Nomad"])
def test_sigterm_leaves_the_jobs_and_says_how_to_find_them(
    place: Place, monkeypatch, how: str
) -> None:
    """Nomad sends SIGINT to its tasks where the job says nothing else."""

    def build(session: Any, roots: object) -> None:
        session.begin()
        assert callable(signal.getsignal(signal.SIGTERM)), "it would end the tests"
        if how != "SIGTERM":
            raise KeyboardInterrupt  # a shell's background processes ignore SIGINT itself
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(60)

    def stop(*_: object, **__: object) -> None:
        raise AssertionError("jobs were to be left")

    if how != "SIGTERM":
        monkeypatch.setenv("NOMAD_ALLOC_ID", "0" * 36)
    monkeypatch.setattr("pipelines.run._build", build)
    monkeypatch.setattr("pipelines.stop.stop_own_run", stop)
    before = signal.getsignal(signal.SIGTERM)
    if how == "SIGTERM":
        with pytest.raises(SystemExit) as ended:
            place.call("run", *WORDS)
        assert ended.value.code == TERMINATED
    else:
        done = place.call("run", *WORDS)
        assert done.code == 130
        assert "finds them again" in done.err
    assert signal.getsignal(signal.SIGTERM) is before
