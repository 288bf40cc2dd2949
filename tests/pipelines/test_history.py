"""The history of a run while it goes on, after it failed, and after its process died."""

from __future__ import annotations

import os
import platform
import threading
from pathlib import Path

import msgspec
import pytest

from pipelines.cost import Prices, bills
from pipelines.errors import RunFailed
from pipelines.history import Historian, History
from pipelines.joblogs import JobLog
from pipelines.page import RunPage
from pipelines.plan import plan
from pipelines.run import root_task, run
from pipelines.runners.folder import JobFolder
from pipelines.runners.machine import AT_ONCE, Script
from pipelines.runs import Process, Run, list_runs, read_run, state_of
from pipelines.timeline import MOST
from registry.artifacts.attempt import Attempt, AttemptEnd, close_attempt
from registry.artifacts.catalog import Catalog
from registry.artifacts.journal import Journal
from registry.artifacts.layout import run_path
from registry.artifacts.records import encode_record
from tests.contracts.rigs import eventually
from tests.pipelines.small import DAY, NAME, World
from tests.registry.makers import an_attempt

EVIL = '<script>alert(1)</script> & "quotes" \x1b[31m'


def planned_run(world: World, script=lambda _: AT_ONCE):
    """A session that knows its plan, as that of `penstock run` does, and what it is to run."""
    return planned(world, script, None)


def planned(world: World, script, changes):
    roots = [root_task(NAME, DAY, changes)]
    session = world.session(script)
    session.planned = plan(world.session(), roots)
    return session, roots


def history_of(world: World, name: str, keys=None) -> History:
    return Historian(world.store, Path(world.env["PENSTOCK_VAR"]), name, keys).read()


def test_a_run_that_succeeded(world):
    session, roots = planned_run(world)
    made = run(session, roots).made
    history = history_of(world, session.run)
    assert (history.state, history.is_over) == ("succeeded", True)
    assert {step.key for step in history.of("made")} == set(made)
    assert {step.label for step in history.of("decided")} == {
        f"publish {NAME} {DAY}", f"evaluate {NAME} {DAY} champion",
    }  # fmt: skip
    assert len(history.of("made")) + len(history.of("decided")) == len(history.steps)
    assert {step.why for step in history.of("made")} == {"missing", "decided by the evaluations"}
    assert [decision.action for decision in history.decisions] == ["publish"]
    assert history_of(world, session.run, session.keys()).steps == history.steps


def test_a_second_run_finds_what_is_there(world):
    run(*planned_run(world))
    session, roots = planned(world, lambda _: AT_ONCE, {"lightgbm": {"leaves": 9}})
    run(session, roots)
    history = history_of(world, session.run)
    assert history.of("there")
    (train,) = [step for step in history.of("made") if step.label.startswith("train")]
    assert train.why == "model.leaves 3 → 9"


def test_a_run_seen_while_it_goes_on(world):
    held: list[Attempt] = []

    def script(attempt):
        if attempt.kind == "train":
            held.append(attempt)
            return Script(hold=True)
        return AT_ONCE

    session, roots = planned_run(world, script)
    runner = threading.Thread(target=run, args=(session, roots))
    runner.start()
    historian = Historian(world.store, Path(world.env["PENSTOCK_VAR"]), session.run)
    states = world.machine.states
    eventually(lambda: sum(a.write_id in states for a in held) == 2, "both models are trained")
    history = historian.read()
    assert (history.state, history.is_over) == ("running", False)
    assert [step.label.split()[0] for step in history.of("elsewhere")] == ["train", "train"]
    assert "predict" in {step.label.split()[0] for step in history.of("waiting")}
    for attempt in held:
        world.machine.release(attempt)
    runner.join()
    assert historian.read().state == "succeeded"


def test_a_run_that_failed_says_what_and_what_was_not_reached(world):
    failing = Script(exit_code=65, reason=EVIL, log=f"line\n{EVIL}\n".encode())
    session, roots = planned_run(world, lambda a: failing if a.kind == "train" else AT_ONCE)
    with pytest.raises(RunFailed):
        run(session, roots)
    historian = Historian(world.store, Path(world.env["PENSTOCK_VAR"]), session.run)
    history = historian.read()
    assert (history.state, history.is_over) == ("failed", True)
    assert [step.tries[-1].kind for step in history.of("failed")] == ["bad-data"] * 2
    assert {step.label.split()[0] for step in history.of("left")} >= {"predict", "publish"}
    page = RunPage(historian, history, world.store, Path("page.html")).html()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; " in page
    assert page.count('class="card trouble"') == 2


def test_attempts_that_were_tried_again_are_told(world):
    def script(attempt):
        # One step only: a second would begin at the size that the first one climbed to, if that
        # came to its end before.
        lacks = attempt.kind == "train" and "lightgbm" in attempt.step and attempt.number == 1
        return Script(exit_code=71) if lacks else AT_ONCE

    session, roots = planned_run(world, script)
    run(session, roots)
    history = history_of(world, session.run)
    (step,) = [step for step in history.steps if len(step.tries) > 1]
    assert [each.kind for each in step.tries] == ["oom", "committed"]
    assert [each.attempt.size for each in step.tries] == ["s", "m"]
    assert step.state == "made"


def test_a_run_whose_process_is_gone_was_interrupted(world):
    session, roots = planned_run(world)
    run(session, roots)
    record, _ = read_run(world.store, session.run)
    assert record.process
    assert (record.process.pid, state_of(record, None)) == (os.getpid(), "running")
    gone = msgspec.structs.replace(record.process, birth=1)
    name = "20200101T000000-abcdef"
    dead = msgspec.structs.replace(record, run=name, process=gone)
    world.store.create(run_path(name), encode_record(dead))
    assert state_of(dead, None) == "interrupted"
    assert history_of(world, name).is_over
    elsewhere = msgspec.structs.replace(record.process, host="another")
    far = msgspec.structs.replace(record, process=elsewhere)
    assert state_of(far, None) == "unfinished"
    assert [run.run for run, _ in list_runs(world.store)] == [session.run, name]
    failed = list_runs(world.store, wanted=lambda *each: state_of(*each) == "interrupted")
    assert [run.run for run, _ in failed] == [name]


def local_attempt(world: World, run: str) -> Attempt:
    return an_attempt(world.store, run=run, runner="local", host=platform.node())


def test_what_was_queued_by_a_dead_process_is_left(world):
    name = "20200101T000000-abcdef"
    gone = Process(platform.node(), os.getpid(), 1)
    record = Run(name, "me", {}, "c", False, "", "2020-01-01T00:00:00+00:00", [], gone)
    world.store.create(run_path(name), encode_record(record))
    log = JobLog(world.store, Path(world.env["PENSTOCK_VAR"]), local_attempt(world, name))
    history = history_of(world, name)
    assert [step.state for step in history.steps] == ["left"]
    assert history.is_over
    assert (log.never_began(), log.source, log.text()) == (True, "", "")


def test_a_log_is_read_on_from_where_it_was(world, tmp_path):
    attempt = local_attempt(world, "run")
    log = JobLog(world.store, tmp_path, attempt)
    folder = JobFolder(tmp_path / "jobs", attempt).path
    assert log.fresh() == []
    folder.mkdir(parents=True)
    (folder / "log").write_text("one\ntw")
    assert log.fresh() == ["one"]
    (folder / "log").write_text("one\ntwo\nthr")
    assert log.fresh() == ["two"]
    (folder / "log").write_text("one\n")  # it passed its limit and was cut
    assert log.fresh() == []
    (folder / "log").write_text("one\nfour")
    assert log.fresh(final=True) == ["thrfour"]
    assert (log.source, log.has_ended()) == ("this machine", False)
    close_attempt(world.store, attempt, AttemptEnd("exit", "", 1, {}, 2.0), b"kept")
    assert (log.source, log.text(), log.has_ended()) == ("store", "kept", True)


def test_records_of_before_are_read(world):
    old = (
        b'{"run": "20200101T000000-abcdef", "who": "me", "asked": {}, "commit": "c", '
        b'"dirty": false, "lock": "", "started": "2020-01-01T00:00:00+00:00"}'
    )
    world.store.create(run_path("20200101T000000-abcdef"), old)
    history = history_of(world, "20200101T000000-abcdef")
    assert (history.state, history.steps) == ("unfinished", [])


def test_a_page_is_whole_in_itself(world):
    session, roots = planned_run(world)
    run(session, roots)
    historian = Historian(world.store, Path(world.env["PENSTOCK_VAR"]), session.run)
    page = RunPage(historian, historian.read(), world.store, Path("page.html")).html()
    assert "http" not in page.replace(world.store.url, "")
    assert page.count("<rect") >= len(session.made)
    assert len(session.made) < MOST
    for text in ("succeeded", "log_loss", "publish", f"train {NAME}"):
        assert text in page


def test_the_cost_of_attempts(world):
    failing = Script(exit_code=71)
    session, roots = planned_run(
        world, lambda a: failing if a.kind == "train" and a.number == 1 else AT_ONCE
    )
    run(session, roots)
    journal = Journal(world.store)
    journal.refresh()
    found, total = bills(Catalog(world.store), journal.tries(), "family", Prices(3600.0, 0.0))
    by_family = {bill.group: bill for bill in found}
    assert by_family["model"].failed == 2
    assert total.attempts == sum(bill.attempts for bill in found) == len(session.made) + 2
    # The stub measures nothing, and its jobs tell their wall time alone.
    assert total.unmeasured == total.attempts
    (day,) = bills(Catalog(world.store), journal.tries(), "day", Prices())[0]
    assert day.attempts == total.attempts


def test_prices_are_of_what_was_asked_for():
    prices = Prices(cpu_hour=2.0, gib_hour=0.5)
    assert prices.of(1800.0, 0.0) == pytest.approx(1.0)
    assert prices.of(0.0, 2 * 1024 * 3600.0) == pytest.approx(1.0)
