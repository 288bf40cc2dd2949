from __future__ import annotations

import os

import pytest

from pipelines.run import root_task, run
from pipelines.session import Session, current, using
from registry.artifacts.provenance import Code
from registry.errors import Refused
from registry.settings import Settings
from tests.pipelines.small import DAY, NAME


def in_child(act):
    """What `act` returns in a fork, as text."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writing, repr(act()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read().decode()


def test_the_innermost_session_is_the_one_that_tasks_find(world):
    outer, inner = world.session(), world.session()
    with using(outer):
        with using(inner):
            assert current() is inner
        assert current() is outer


def test_a_session_opens_nothing_before_it_is_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    session = Session(Settings.load({}))
    assert not session.began
    session.close()
    assert list(tmp_path.iterdir()) == []


def test_a_session_comes_from_the_environment_where_nobody_opened_one(tmp_path, monkeypatch):
    monkeypatch.setenv("PENSTOCK_STORE", str(tmp_path))
    monkeypatch.setattr("pipelines.session._open", [])
    assert current().settings.store == str(tmp_path)
    assert current() is current()


def test_a_fork_looks_again_at_what_its_siblings_made(world):
    """Luigi's own worker forks for each step, from a process that never sees a commit."""
    session = world.session()
    with using(session):
        task = root_task(NAME, DAY).scored()
        assert not task.complete()
        world.run_steps(task)
        assert not task.complete()
        assert in_child(task.complete) == "True"


def test_a_fork_looks_again_at_pins(world):
    session = world.session()
    with using(session):
        assert session.pins.find(NAME, "2020-01-10", "champion") is None
        other = world.session()
        other.pins.set(NAME, "2020-01-10", "champion", None, "run-1")
        assert session.pins.find(NAME, "2020-01-10", "champion") is None
        found = in_child(lambda: session.pins.find(NAME, "2020-01-10", "champion").run)
        assert found == "'run-1'"


def test_a_fork_may_happen_while_another_thread_lists(world):
    session = world.session()
    task = root_task(NAME, DAY).scored()
    with using(session):
        recipe = task.recipe
        with session.index._lock:
            assert in_child(lambda: session.index.has(recipe)) == "False"


def test_a_run_is_recorded_once_and_only_if_something_runs(world):
    session = world.session()
    assert session.begin() == session.begin() == session.run
    assert len(list(world.store.list("runs/"))) == 1


def test_uncommitted_code_may_not_run_in_prod(world, monkeypatch):
    world.env["PENSTOCK_ENVIRONMENT"] = "prod"
    monkeypatch.setattr("pipelines.session.running_code", lambda: Code("0" * 40, True, ""))
    with pytest.raises(Refused, match="may not write to prod"):
        run(world.session(), [root_task(NAME, DAY)])
    assert list(world.store.list("")) == []
