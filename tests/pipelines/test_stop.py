"""Stopping a run or one job: with its pipeline alive, after its death, and from the outside."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import RunFailed
from pipelines.run import root_task, run
from pipelines.runners.machine import Script
from pipelines.runners.sizes import Capacity
from pipelines.runners.states import Running
from pipelines.runs import read_run
from pipelines.session import Session
from pipelines.stop import is_stopping, open_attempts, stop_attempts, stop_run
from registry.artifacts.attempt import Attempt, end_of
from registry.artifacts.store import Store
from registry.errors import NotFound
from tests.campaigns.pipeline import run_pipeline, session_of, store_of
from tests.pipelines.small import DAY, NAME, World
from tests.races import PATIENCE, processes

#: The days that a run reads first, at once: two of window, one before it, its own and the next.
SOURCES = 5


def held(attempt: Attempt) -> Script:
    """A job that does not end by itself."""
    return Script(hold=attempt.kind == "ingest")


def await_attempts(store: Store, least: int = 1) -> list[Attempt]:
    deadline = time.monotonic() + PATIENCE
    while len(found := open_attempts(store)) < least:
        assert time.monotonic() < deadline, "no attempt was opened"
        time.sleep(0.01)
    return found


Started = tuple[Session, threading.Thread, list[BaseException]]


@pytest.fixture
def running(world: World) -> Iterator[Callable[..., Started]]:
    """Starts runs in threads; ends what a test that failed left, or this process would wait."""
    threads: list[threading.Thread] = []

    def start(script: Callable[[Attempt], Script] = held) -> Started:
        session, failures = world.session(script), list[BaseException]()

        def work() -> None:
            try:
                run(session, [root_task(NAME, DAY)])
            except BaseException as error:  # noqa: BLE001 (looked at by the test)
                failures.append(error)

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        return session, threads[-1], failures

    yield start
    deadline = time.monotonic() + PATIENCE
    while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
        for attempt in open_attempts(world.store):
            world.session().runner.stop(attempt)
        threads[0].join(0.05)


def test_a_run_ends_as_stopped(world: World, running: Any):
    session, thread, failures = running()
    attempts = await_attempts(world.store, SOURCES)
    stopped = stop_run(world.store, world.session().runner, session.run, who="me", why="enough")
    thread.join(PATIENCE)
    assert not thread.is_alive()
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


def test_a_job_recorded_but_not_yet_started_is_stopped_too(
    world: World, running: Any, monkeypatch: pytest.MonkeyPatch
):
    """The request comes between the two, so that there is no job yet that it could end."""
    passed = threading.Event()

    def late(attempt: Attempt) -> Script:
        assert passed.wait(PATIENCE)
        return Script(hold=True)

    session, thread, failures = running(late)
    attempts = await_attempts(world.store, SOURCES)
    runner = world.session().runner
    stop, asked = runner.stop, list[Attempt]()

    def ask(attempt: Attempt) -> None:
        stop(attempt)
        asked.append(attempt)
        if len(asked) == len(attempts):
            passed.set()

    monkeypatch.setattr(runner, "stop", ask)
    assert len(stop_run(world.store, runner, session.run)) == len(attempts)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert isinstance(failures[0], RunFailed)
    assert {end_of(world.store, a).kind for a in attempts} == {"stopped"}


def test_one_job_is_stopped_and_the_run_goes_on(world: World, running: Any):
    session, thread, _ = running()
    first, *others = await_attempts(world.store, SOURCES)
    runner = world.session().runner
    assert stop_attempts(world.store, runner, [first]) == [first]
    assert not is_stopping(world.store, session.run)
    for other in others:
        assert [a.key for a in open_attempts(world.store, key=other.key)] == [other.key]
        world.machine.release(other)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert len(world.manifests("source")) == len(others)


def test_a_run_that_is_not_there(world: World):
    with pytest.raises(NotFound):
        stop_run(world.store, world.session().runner, "20200110T000000-000000")


def start(folder: Path) -> Any:
    env = {"SMALLJOB_PAUSE": str(2 * PATIENCE)}
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
    deadline = time.monotonic() + PATIENCE
    while not isinstance(session.runner.state(attempt), Running):
        assert time.monotonic() < deadline, "the job did not start"
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
    await_attempts(world.store, SOURCES)
    stop_run(world.store, world.session().runner, session.run)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert failures
    assert world.manifests() == []
