"""The stub: work, scripts, delays, and how little waiting takes."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from pipelines.runners.machine import Script, StubMachine, commit_files
from pipelines.runners.protocol import AttemptReference
from pipelines.runners.sizes import Capacity
from pipelines.runners.states import Kind, Vanished
from pipelines.runners.stub import StubRunner
from pipelines.runners.timers import Timers
from registry.artifacts.fetch import find_manifest
from registry.artifacts.store import open_store
from registry.errors import BadData
from tests.contracts.rigs import REFERENCE, end_of, eventually, new_attempt


def stub_attempt(**changes):
    return new_attempt("stub", "", **changes)


def nothing(attempt, reference):
    """A job without work."""


def test_work_is_done_by_the_time_start_returns():
    done = []
    with StubRunner(lambda attempt, reference: done.append((attempt, reference))) as runner:
        attempt = stub_attempt()
        runner.start(attempt, REFERENCE)
        assert done == [(attempt, REFERENCE)]
        assert end_of(runner, attempt).exit_code == 0


def test_files_are_committed_as_the_artifact():
    attempt = stub_attempt()
    recipe = attempt.spec.recipe.recipe()
    attempt = stub_attempt(key=recipe.key)
    store = open_store(f"memory://{attempt.write_id}")
    reference = AttemptReference(store.url, attempt.path, "0" * 64)
    with StubRunner(commit_files({"part/a.txt": b"alpha", "b.txt": b"beta"})) as runner:
        runner.start(attempt, reference)
        assert end_of(runner, attempt).kind is None
    manifest = find_manifest(store, recipe)
    assert manifest is not None
    assert sorted(file.path for file in manifest.files) == ["b.txt", "part/a.txt"]


@pytest.mark.parametrize(
    ("error", "code", "kind", "words"),
    [
        (BadData("column x is missing"), 65, Kind.BAD_DATA, b"column x is missing"),
        (MemoryError(), 71, Kind.OOM, b""),
        (ZeroDivisionError("by zero"), 1, Kind.EXIT, b"ZeroDivisionError: by zero"),
    ],
)
def test_an_error_of_the_work_is_an_end_of_its_kind(error, code, kind, words):
    def work(attempt, reference):
        raise error

    with StubRunner(work) as runner:
        attempt = stub_attempt()
        runner.start(attempt, REFERENCE)
        ended = end_of(runner, attempt)
        assert (ended.exit_code, ended.kind) == (code, kind)
        assert words in runner.log_tail(attempt)


@pytest.mark.parametrize("kind", [Kind.LOST, Kind.NO_FIT, Kind.OOM, Kind.STOPPED, Kind.TIMEOUT])
def test_a_script_ends_a_job_in_any_way(kind):
    script = Script(exit_code=None, cause=kind.value, reason="as written")
    with StubRunner(nothing, lambda _: script) as runner:
        attempt = stub_attempt()
        runner.start(attempt, REFERENCE)
        ended = end_of(runner, attempt)
        assert (ended.kind, ended.reason) == (kind, "as written")


def test_a_job_may_do_its_work_and_vanish():
    done = []
    with StubRunner(lambda *both: done.append(both), lambda _: Script(vanish=True)) as runner:
        attempt = stub_attempt()
        runner.start(attempt, REFERENCE)
        assert end_of(runner, attempt).kind is Kind.LOST
        assert isinstance(runner.state(attempt), Vanished)
        assert len(done) == 1


def test_a_delayed_job_runs_until_it_is_due():
    with StubRunner(nothing, lambda _: Script(delay_s=0.05)) as runner:
        attempt = stub_attempt()
        runner.start(attempt, REFERENCE)
        assert end_of(runner, attempt).kind is None


def test_a_delay_beyond_the_deadline_is_a_timeout():
    with StubRunner(nothing, lambda _: Script(delay_s=60)) as runner:
        attempt = stub_attempt(deadline=time.time() + 0.05)
        runner.start(attempt, REFERENCE)
        assert end_of(runner, attempt).kind is Kind.TIMEOUT


def test_a_delayed_machine_of_one_takes_jobs_in_turn():
    order = []
    machine = StubMachine(Capacity(1, 1024))
    runner = StubRunner(
        lambda attempt, _: order.append(attempt), lambda _: Script(delay_s=0.01), machine
    )
    attempts = [stub_attempt() for _ in range(20)]
    for attempt in attempts:
        runner.start(attempt, REFERENCE)
    assert [end_of(runner, attempt).kind for attempt in attempts] == [None] * 20
    assert order == attempts
    runner.close()


@pytest.mark.usefixtures("no_thread_leaks")
def test_waiting_takes_no_thread_but_the_callers_own():
    runner = StubRunner(nothing, lambda _: Script(delay_s=0.5))
    attempts = [stub_attempt() for _ in range(300)]
    for attempt in attempts:
        runner.start(attempt, REFERENCE)
    before = threading.active_count()
    found = []
    threads = [
        threading.Thread(target=lambda a=attempt: found.append(end_of(runner, a)))
        for attempt in attempts
    ]
    for thread in threads:
        thread.start()
    assert threading.active_count() <= before + len(threads)
    for thread in threads:
        thread.join()
    assert [ended.kind for ended in found] == [None] * 300
    runner.close()


@pytest.mark.usefixtures("no_thread_leaks")
def test_timers_call_in_the_order_of_their_times(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("pipelines.runners.timers.time.monotonic", lambda: now[0])
    timers = Timers()
    called: list[float] = []
    for delay in (0.09, 0.03, 0.06, 0.03):
        timers.after(delay, partial(called.append, delay))
    now[0] = 1.0
    monkeypatch.undo()
    eventually(lambda: len(called) == 4, "all were called")
    assert called == [0.03, 0.03, 0.06, 0.09]


@pytest.mark.usefixtures("no_thread_leaks")
def test_timers_forget_what_was_to_come_when_closed():
    timers = Timers()
    called: list[int] = []
    timers.after(3600, lambda: called.append(1))
    timers.close()
    timers.after(0, lambda: called.append(2))
    eventually(lambda: called, "timers can be used again")
    assert called == [2]
