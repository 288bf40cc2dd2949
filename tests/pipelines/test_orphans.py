"""Jobs that nobody waits for, over the stub's machine, and by the command on this machine."""

from __future__ import annotations

import platform
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipelines.orphans import Orphan, find_orphans
from pipelines.runners.machine import Script, StubMachine
from pipelines.runners.protocol import AttemptReference
from pipelines.runners.states import Running
from pipelines.runners.stub import StubRunner
from pipelines.runs import Process, Run, RunEnd, end_run, now, read_run, start_run
from pipelines.stop import open_attempts, stop_attempts
from registry.artifacts.attempt import (
    Attempt,
    AttemptEnd,
    JobSpec,
    RecipeRecord,
    close_attempt,
    open_attempt,
)
from registry.artifacts.layout import run_path
from registry.artifacts.provenance import Code
from registry.artifacts.records import encode_record
from registry.artifacts.store.memory import named_memory
from tests.campaigns.pipeline import run_pipeline, session_of, store_of
from tests.contracts.rigs import eventually
from tests.races import PATIENCE, processes
from tests.registry.makers import a_recipe

CODE = Code("0" * 40, False, "lock")
GONE = Process(platform.node(), 1, -1)
ELSEWHERE = Process("another-machine", 7, 7)


class Bench:
    """A store, and a machine on which jobs hold."""

    def __init__(self, name: str) -> None:
        self.store = named_memory(name)
        self.machine = StubMachine()
        self.runner = StubRunner(lambda *_: None, lambda _: Script(hold=True), self.machine)

    def run(self, name: str, process: Process | None) -> None:
        """The record of a run in that process; None: in this one."""
        record = start_run(
            self.store, name if process is None else f"{name}-template", "me", {}, CODE
        )
        if process is not None:
            self.store.create(run_path(name), encode_record(_with(record, name, process)))
            end_run(self.store, RunEnd(f"{name}-template", "succeeded", [], [], now(), 0.0))

    def job(self, run: str, timeout: float = 3600.0) -> Attempt:
        """A job of the run, which holds."""
        spec = JobSpec("train", RecipeRecord.of(a_recipe()), {})
        about: dict[str, Any] = {
            "size": "s",
            "runner": "stub",
            "host": "",
            "run": run,
            "timeout": timeout,
        }
        attempt = open_attempt(self.store, spec, 1, **about)
        self.runner.start(attempt, AttemptReference(self.store.url, attempt.path, "0" * 64))
        return attempt

    def found(self) -> list[Orphan]:
        return find_orphans(self.store, self.runner)


def _with(record: Run, name: str, process: Process) -> Run:
    return msgspec.structs.replace(record, run=name, process=process)


@pytest.fixture
def bench(request: Any) -> Any:
    made = Bench(request.node.name)
    yield made
    made.machine.timers.close()


def test_a_job_whose_pipeline_lives_is_none(bench: Bench):
    bench.run("run-1", None)
    bench.job("run-1")
    assert bench.found() == []


def test_a_job_whose_pipeline_is_gone(bench: Bench):
    bench.run("run-1", GONE)
    attempt = bench.job("run-1")
    (orphan,) = bench.found()
    assert (orphan.attempt, orphan.why, orphan.taken_over) == (attempt, "its pipeline is gone", "")


def test_another_run_that_lives_may_have_found_it(bench: Bench):
    bench.run("run-1", GONE)
    bench.run("run-2", None)
    bench.job("run-1")
    (orphan,) = bench.found()
    assert orphan.taken_over == "run-2"


def test_of_a_pipeline_elsewhere_nothing_is_known(bench: Bench):
    bench.run("run-1", ELSEWHERE)
    bench.job("run-1")
    assert bench.found() == []


@pytest.mark.parametrize(("lives", "orphans"), [(True, 0), (False, 1), (None, 0)])
def test_a_pipeline_that_is_an_allocation_is_asked_for(bench: Bench, monkeypatch, lives, orphans):
    bench.run("run-1", Process("another-machine", 7, 7, "an-allocation"))
    bench.job("run-1")
    monkeypatch.setattr(bench.runner, "pipeline_lives", {"an-allocation": lives}.get)
    assert len(bench.found()) == orphans


def test_a_job_whose_run_has_ended(bench: Bench):
    bench.run("run-1", None)
    bench.job("run-1")
    end_run(bench.store, RunEnd("run-1", "failed", [], [], now(), 1.0))
    assert [orphan.why for orphan in bench.found()] == ["its run has ended (failed)"]


def test_a_job_that_may_not_commit_any_more(bench: Bench):
    bench.run("run-1", None)
    attempt = bench.job("run-1", timeout=0.3)
    bench.machine.timers.close()  # which would end it
    while time.time() <= attempt.deadline:
        threading.Event().wait(0.05)
    (orphan,) = bench.found()
    assert "may not commit" in orphan.why


def test_a_job_whose_attempt_has_ended(bench: Bench):
    bench.run("run-1", None)
    attempt = bench.job("run-1")
    close_attempt(bench.store, attempt, AttemptEnd("lost", "", None, {}, time.time()), b"")
    assert [orphan.why for orphan in bench.found()] == ["its attempt has ended (lost)"]


def test_jobs_of_another_environment_are_left_out(bench: Bench):
    bench.run("run-1", GONE)
    bench.job("run-1")
    other = named_memory("another-environment")
    assert find_orphans(other, bench.runner) == []


def test_a_run_remembers_the_allocation_it_is(bench: Bench, monkeypatch):
    monkeypatch.setenv("NOMAD_ALLOC_ID", "an-allocation")
    start_run(bench.store, "run-1", "me", {}, CODE)
    record, _ = read_run(bench.store, "run-1")
    assert record.process is not None
    assert record.process.allocation == "an-allocation"


def test_the_job_of_a_killed_pipeline_on_this_machine(tmp_path: Path):
    env = {"SMALLJOB_PAUSE": "60"}
    child = processes().Process(target=run_pipeline, args=(env, tmp_path, "features"))
    child.start()
    store, session = store_of(tmp_path), session_of(tmp_path)
    eventually(lambda: open_attempts(store), "an attempt is opened")
    (attempt,) = open_attempts(store)
    eventually(lambda: isinstance(session.runner.state(attempt), Running), "it runs")
    assert find_orphans(store, session.runner) == []
    child.kill()
    child.join(PATIENCE)
    (orphan,) = find_orphans(store, session.runner)
    assert (orphan.attempt, orphan.why) == (attempt, "its pipeline is gone")
    assert stop_attempts(store, session.runner, [attempt]) == [attempt]
    assert find_orphans(store, session.runner) == []
    session.close()
