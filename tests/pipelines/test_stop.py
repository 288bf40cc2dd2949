"""Stopping a run or one job: with its pipeline alive, after its death, and from the outside."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import RunFailed
from pipelines.run import root_task, run
from pipelines.runners.machine import Script
from pipelines.runners.sizes import Capacity
from pipelines.runs import read_run
from pipelines.session import Session
from pipelines.stop import is_stopping, open_attempts, stop_attempts, stop_run
from registry.artifacts.attempt import Attempt, end_of
from registry.artifacts.store import Store
from registry.errors import NotFound
from tests.campaigns.pipeline import run_pipeline, session_of, store_of
from tests.pipelines.small import DAY, NAME, World
from tests.races import PATIENCE, processes


def held(attempt: Attempt) -> Script:
    """A job that does not end by itself."""
    return Script(hold=attempt.kind == "ingest")


def await_attempts(store: Store, least: int = 1) -> list[Attempt]:
    deadline = time.monotonic() + PATIENCE
    while len(found := open_attempts(store)) < least:
        assert time.monotonic() < deadline, "no attempt was opened"
        time.sleep(0.01)
    return found


@pytest.fixture
def running(world: World) -> Callable[[], tuple[Session, threading.Thread, list[BaseException]]]:
    def start() -> tuple[Session, threading.Thread, list[BaseException]]:
        session, failures = world.session(held), list[BaseException]()

        def work() -> None:
            try:
                run(session, [root_task(NAME, DAY)])
            except BaseException as error:  # noqa: BLE001 (looked at by the test)
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        return session, thread, failures

    return start


def test_a_run_ends_as_stopped(world: World, running: Any):
    session, thread, failures = running()
    attempts = await_attempts(world.store, 4)
    stopped = stop_run(world.store, world.session().runner, session.run, who="me", why="enough")
    thread.join(PATIENCE)
    assert {a.key for a in stopped} == {a.key for a in attempts}
    _, end = read_run(world.store, session.run)
    assert end is not None
    assert (end.status, end.made) == ("stopped", [])
    (failure,) = failures
    assert isinstance(failure, RunFailed)
    assert failure.exit_code == 75
    assert {end_of(world.store, a).kind for a in attempts} == {"stopped"}
    assert stop_run(world.store, world.session().runner, session.run) == []
    world.run()
    assert world.one("predictions").date == str(DAY)


def test_one_job_is_stopped_and_the_run_goes_on(world: World, running: Any):
    session, thread, _ = running()
    first, *others = await_attempts(world.store, 4)
    runner = world.session().runner
    assert stop_attempts(world.store, runner, [first]) == [first]
    assert not is_stopping(world.store, session.run)
    for other in others:
        assert [a.key for a in open_attempts(world.store, key=other.key)] == [other.key]
        world.machine.release(other)
    thread.join(PATIENCE)
    assert len(world.manifests("source")) == len(others)


def test_a_run_that_is_not_there(world: World):
    with pytest.raises(NotFound):
        stop_run(world.store, world.session().runner, "20200110T000000-000000")


def start(folder: Path) -> Any:
    env = {"SMALLJOB_PAUSE": "60"}
    child = processes().Process(target=run_pipeline, args=(env, folder, "features"))
    child.start()
    return child


@pytest.mark.parametrize("killed", [False, True])
def test_jobs_of_this_machine_end(tmp_path: Path, killed: bool, monkeypatch):
    if killed:  # nobody will record the end of the run
        monkeypatch.setattr("pipelines.stop.PATIENCE", 2.0)
    child = start(tmp_path)
    store = store_of(tmp_path)
    (attempt,) = await_attempts(store)
    session = session_of(tmp_path)
    while session.runner.state(attempt).__class__.__name__ != "Running":
        time.sleep(0.05)
    if killed:
        child.kill()
    stopped = stop_run(store, session.runner, attempt.run)
    child.join(PATIENCE)
    session.close()
    assert [a.key for a in stopped] == [attempt.key]
    assert end_of(store, attempt).kind == "stopped"
    _, end = read_run(store, attempt.run)
    assert end is not None
    assert end.status == "stopped"
    assert killed or child.exitcode == 75
    assert run_again(tmp_path) == 0


def run_again(folder: Path) -> int:
    child = processes().Process(target=run_pipeline, args=({}, folder, "features"))
    child.start()
    child.join(PATIENCE)
    return int(child.exitcode or 0)


def test_what_waits_for_room_is_not_begun(world: World, running: Any):
    """The queue lives in the pipeline's own memory; the request reaches it through a stopped job."""
    world.machine.capacity = Capacity(1, 2048)
    session, thread, failures = running()
    await_attempts(world.store, 4)
    stop_run(world.store, world.session().runner, session.run)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert failures
    assert world.manifests() == []
