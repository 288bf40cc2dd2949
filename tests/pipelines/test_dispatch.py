from __future__ import annotations

import threading
import time
from functools import partial

import msgspec
import pytest

from pipelines.dispatch import Dispatcher, Policy
from pipelines.errors import JobFailed
from pipelines.runners.machine import AT_ONCE, Script, StubMachine, commit_files
from pipelines.runners.protocol import AttemptReference, RunnerAway
from pipelines.runners.sizes import Capacity
from pipelines.runners.states import KINDS, Kind, Queued, Remedy, Running
from pipelines.runners.stub import StubRunner
from pipelines.tries import Tries
from registry.artifacts.attempt import (
    JobSpec,
    RecipeRecord,
    attempts_of,
    end_of,
    open_attempt,
)
from registry.artifacts.fetch import find_manifest
from registry.artifacts.layout import attempt_end_path, attempt_log_path, stop_path
from registry.artifacts.store.memory import named_memory
from registry.errors import BadData, StoreError
from tests.pipelines.small import Recorder
from tests.races import race_threads
from tests.registry.makers import a_recipe

DONE = commit_files({"made.txt": b"made\n"})
SPEC = JobSpec("train", RecipeRecord.of(a_recipe()), {})
KEY = a_recipe().key
STEP = "train flights"

#: Remedies by which another attempt of the same size follows.
AGAIN = (Remedy.AGAIN, Remedy.REPLACE)
#: How a script ends with each kind of failure.
ENDINGS = {
    Kind.ARTIFACT_DOWNLOAD: Script(cause="artifact-download"),
    Kind.BAD_DATA: Script(exit_code=65, log=b"bad-data: the column is missing\n"),
    Kind.EXIT: Script(exit_code=1, log=b"Traceback\nValueError: no\n\n"),
    Kind.DRIVER: Script(cause="driver", reason="no such image"),
    Kind.KILLED: Script(cause="killed"),
    Kind.LOST: Script(cause="lost"),
    Kind.PREEMPTED: Script(cause="preempted"),
    Kind.NO_FIT: Script(cause="no-fit", reason="too large"),
    Kind.OOM: Script(exit_code=71),
    Kind.SIGNAL: Script(exit_code=None, signal=9),
    Kind.STOPPED: Script(cause="stopped", reason="stopped on request"),
    Kind.TEMPORARY: Script(exit_code=75),
    Kind.TIMEOUT: Script(cause="timeout", reason="the deadline passed"),
}


class Bench:
    """A dispatcher on a stub, whose attempts end as the scripts say, one after the other."""

    def __init__(self, name, scripts=(), work=DONE, machine=None, **policy):
        self.store = named_memory(f"dispatch-{name}-{time.monotonic_ns()}")
        self.scripts = list(scripts)
        self.machine = machine or StubMachine()
        self.work = work
        self.recorder = Recorder()
        self.policy = Policy(**{"pause": 0.0, **policy})
        self.dispatcher = self.pipeline()

    def pipeline(self, run="run-1", host=""):
        runner = StubRunner(self.work, self._script, self.machine)
        runner.host = host
        return Dispatcher(self.store, runner, run, self.policy, self.recorder)

    def _script(self, attempt):
        return self.scripts.pop(0) if self.scripts else AT_ONCE

    def make(self, size="s"):
        return self.dispatcher.make(SPEC, STEP, size)

    def sizes(self):
        return [attempt.size for attempt in attempts_of(self.store, KEY)]

    def kinds(self):
        return [end_of(self.store, attempt).kind for attempt in attempts_of(self.store, KEY)]

    def open(self, number=1, timeout=3600.0, runner="stub", host="", run="another"):
        return open_attempt(
            self.store, SPEC, number, size="s", runner=runner, host=host, run=run, timeout=timeout
        )


def reference_of(one, attempt):
    return AttemptReference(one.store.url, attempt.path, "0" * 64)


@pytest.fixture
def bench(request):
    return lambda *scripts, **more: Bench(request.node.name, scripts, **more)


def test_an_artifact_that_is_there_needs_no_attempt(bench):
    one = bench()
    first = one.make()
    assert one.make() == first
    assert one.pipeline("run-2").make(SPEC, STEP) == first
    assert one.sizes() == ["s"]
    assert one.recorder.told == [("started", STEP, "1", "s")]


def test_every_kind_has_an_ending_here():
    assert set(ENDINGS) == set(Kind) - {Kind.NO_MANIFEST}


@pytest.mark.parametrize("kind", [k for k in ENDINGS if KINDS[k][1] in AGAIN])
def test_what_may_pass_is_tried_again(bench, kind):
    one = bench(ENDINGS[kind])
    assert one.make().producer.attempt == 2
    assert one.kinds() == [kind, "committed"]
    assert one.sizes() == ["s", "s"]
    assert one.recorder.steps("retried") == [STEP]


@pytest.mark.parametrize("kind", [k for k in ENDINGS if KINDS[k][1] is Remedy.STOP])
def test_what_will_not_pass_stops_the_step(bench, kind):
    one = bench(ENDINGS[kind])
    with pytest.raises(JobFailed) as failure:
        one.make()
    assert failure.value.failure is kind
    assert failure.value.what == f"{STEP} failed: {kind}"
    assert one.kinds() == [kind]
    assert find_manifest(one.store, a_recipe()) is None


def test_out_of_memory_climbs_the_sizes(bench):
    one = bench(ENDINGS[Kind.OOM], ENDINGS[Kind.OOM])
    assert one.make().producer.attempt == 3
    assert one.sizes() == ["s", "m", "l"]


def test_out_of_memory_at_the_largest_size_is_final(bench):
    one = bench(ENDINGS[Kind.OOM])
    with pytest.raises(JobFailed) as failure:
        one.make("xl")
    assert failure.value.failure is Kind.OOM
    assert one.sizes() == ["xl"]


def test_a_later_run_begins_above_the_size_that_was_too_small(bench):
    one = bench(*[ENDINGS[Kind.OOM]] * 2, attempts=2)
    with pytest.raises(JobFailed):
        one.make()
    assert one.sizes() == ["s", "m"]
    one.pipeline("run-2").make(SPEC, STEP)
    assert one.sizes() == ["s", "m", "l"]


def test_the_budget_of_attempts_is_that_of_a_run(bench):
    one = bench(*[ENDINGS[Kind.TEMPORARY]] * 3)
    with pytest.raises(JobFailed) as failure:
        one.make()
    assert failure.value.exit_code == 75
    assert one.kinds() == ["temporary"] * 3
    assert one.pipeline("run-2").make(SPEC, STEP).producer.attempt == 4


def test_a_job_that_ends_well_without_a_manifest_has_failed(bench):
    one = bench(work=lambda *_: None)
    with pytest.raises(JobFailed) as failure:
        one.make()
    assert failure.value.failure is Kind.NO_MANIFEST
    assert failure.value.exit_code == 70
    assert one.kinds() == ["no-manifest"] * 3


def test_a_manifest_counts_whatever_became_of_the_job(bench):
    one = bench(Script(vanish=True))
    assert one.make().producer.attempt == 1
    assert one.kinds() == ["committed"]


@pytest.mark.parametrize(
    ("kind", "code", "why"),
    [
        (Kind.BAD_DATA, 65, "bad-data: the column is missing"),
        (Kind.EXIT, 70, "ValueError: no"),
        (Kind.NO_FIT, 77, "too large"),
        (Kind.TIMEOUT, 75, "the deadline passed"),
    ],
)
def test_a_failure_tells_step_kind_last_line_and_where_the_log_is(bench, kind, code, why):
    one = bench(ENDINGS[kind])
    with pytest.raises(JobFailed) as failure:
        one.make()
    error = failure.value
    assert (error.exit_code, error.kind, error.why) == (code, kind.value, why)
    assert f"attempts/{KEY}/0001.log" in error.todo


@pytest.mark.parametrize("code", [64, 66, 73, 74, 77, 78])
def test_a_known_exit_code_of_a_job_is_that_of_its_failure(bench, code):
    one = bench(Script(exit_code=code))
    with pytest.raises(JobFailed) as failure:
        one.make()
    assert failure.value.exit_code == code


def test_end_and_log_are_kept_beside_the_record(bench):
    one = bench(Script(exit_code=75, log=b"one\ntwo\n"), attempts=1)
    with pytest.raises(JobFailed):
        one.make()
    assert one.store.get(attempt_log_path(KEY, 1)) == b"one\ntwo\n"
    end = msgspec.json.decode(one.store.get(attempt_end_path(KEY, 1)))
    assert (end["kind"], end["exit_code"]) == ("temporary", 75)


def test_racing_threads_share_one_attempt(bench):
    for _ in range(5):
        one = bench(Script(delay_s=0.02))
        pipelines = [one.pipeline(f"run-{number}") for number in range(6)]
        made = race_threads(6, partial(_make, pipelines))
        assert len({manifest.version for manifest in made}) == 1
        assert len(attempts_of(one.store, KEY)) == 1


def test_a_live_attempt_of_another_pipeline_is_adopted(bench):
    one = bench(Script(hold=True))
    first = threading.Thread(target=one.make)
    first.start()
    _until(lambda: one.recorder.steps("started"))
    found = []
    second = threading.Thread(target=lambda: found.append(one.pipeline("run-2").make(SPEC, STEP)))
    second.start()
    _until(lambda: len(next(iter(one.machine.sleepers.values()), ())) == 2)
    one.machine.release(attempts_of(one.store, KEY)[0])
    first.join()
    second.join()
    assert found[0].producer.run == "run-1"
    assert one.sizes() == ["s"]
    told = ("waiting", STEP, "attempt 1 was begun by run run-1, and is followed")
    assert one.recorder.told.count(told) == 1


def test_a_job_that_outlived_its_pipeline_is_found_again(bench):
    one = bench(Script(hold=True))
    attempt = one.open(run="dead")
    one.dispatcher._runner.start(attempt, reference_of(one, attempt))
    one.dispatcher._runner.close()
    maker = threading.Thread(target=one.pipeline().make, args=(SPEC, STEP))
    maker.start()
    _until(lambda: one.machine.sleepers.get(attempt.write_id))
    one.machine.release(attempt)
    maker.join()
    assert one.kinds() == ["committed"]
    assert attempts_of(one.store, KEY)[0].run == "dead"


def test_an_attempt_that_was_recorded_and_never_started_is_started(bench):
    one = bench()
    one.open(run="dead")
    manifest = one.make()
    assert (manifest.producer.attempt, manifest.producer.run) == (1, "dead")
    assert one.sizes() == ["s"]


def test_an_attempt_that_was_never_started_is_lost_after_its_deadline(bench):
    one = bench()
    one.open(timeout=-1)
    assert one.make().producer.attempt == 2
    assert one.kinds() == ["lost", "committed"]


@pytest.mark.parametrize("kind", ENDINGS)
def test_a_failure_that_nobody_recorded_is_none_of_this_run(bench, kind):
    """Its pipeline was killed before it could write down the end."""
    one = bench(ENDINGS[kind], attempts=1)
    attempt = one.open(run="dead")
    one.dispatcher._runner.start(attempt, reference_of(one, attempt))
    assert one.make().producer.attempt == 2
    assert one.kinds() == [kind, "committed"]
    assert one.sizes() == ["s", "m" if kind is Kind.OOM else "s"]


def test_a_commit_that_nobody_recorded_is_found(bench):
    one = bench()
    attempt = one.open(run="dead")
    one.dispatcher._runner.start(attempt, reference_of(one, attempt))
    assert one.make().producer.attempt == 1


def test_adopted_failures_leave_the_budget_alone(bench):
    one = bench(ENDINGS[Kind.TEMPORARY], attempts=1)
    one.open(run="dead")
    assert one.make().producer.attempt == 2


class Elsewhere:
    """What another machine does while this one waits; each wait is one call."""

    def __init__(self, monkeypatch, *steps):
        self.steps = list(steps)
        self.waits = 0
        monkeypatch.setattr("pipelines.dispatch.time.sleep", self.sleep)

    def sleep(self, seconds):
        self.waits += 1
        if self.steps:
            self.steps.pop(0)()


def test_what_another_machine_runs_is_waited_for(bench, monkeypatch):
    one = bench()
    here = one.pipeline(host="here")
    attempt = one.open(host="there")
    elsewhere = Elsewhere(
        monkeypatch, lambda: None, lambda: DONE(attempt, reference_of(one, attempt))
    )
    assert here.make(SPEC, STEP).producer.run == "another"
    assert elsewhere.waits == 2
    assert one.sizes() == ["s"]
    assert ("waiting", STEP, "there runs it") in one.recorder.told


def test_another_kind_of_runner_is_waited_for(bench, monkeypatch):
    one = bench()
    attempt = one.open(runner="local", host="there")
    Elsewhere(monkeypatch, lambda: DONE(attempt, reference_of(one, attempt)))
    assert one.make().producer.attempt == 1


def test_what_another_machine_did_not_commit_in_time_is_made_here(bench, monkeypatch):
    one = bench()
    here = one.pipeline(host="here")
    one.open(host="there", timeout=0.05)
    elsewhere = Elsewhere(monkeypatch, *[lambda: threading.Event().wait(0.02)] * 10)
    assert here.make(SPEC, STEP).producer.attempt == 2
    assert elsewhere.waits >= 1
    assert one.kinds() == ["lost", "committed"]


def test_a_recorded_end_elsewhere_is_the_end(bench, monkeypatch):
    """Bad data is bad data on this machine, too."""
    one = bench(ENDINGS[Kind.BAD_DATA])
    there = one.pipeline(run="there", host="there")

    def fail_there():
        with pytest.raises(JobFailed):
            there.make(SPEC, STEP)

    attempt = one.open(host="there", run="there")
    assert attempt.number == 1
    Elsewhere(monkeypatch, fail_there)
    with pytest.raises(JobFailed) as failure:
        one.pipeline(host="here").make(SPEC, STEP)
    assert failure.value.failure is Kind.BAD_DATA
    assert one.kinds() == ["bad-data"]


def test_a_queued_job_says_what_it_waits_for(bench):
    one = bench(machine=StubMachine(Capacity(1, 1024)))
    one.scripts = [Script(hold=True)]
    blocker = one.open()
    one.dispatcher._runner.start(blocker, reference_of(one, blocker))
    other = JobSpec("train", RecipeRecord.of(a_recipe(version=2)), {})
    maker = threading.Thread(target=one.dispatcher.make, args=(other, STEP))
    maker.start()
    _until(lambda: one.recorder.steps("waiting"))
    one.dispatcher._runner.stop(blocker)
    maker.join()
    (reason,) = [told[2] for told in one.recorder.told if told[0] == "waiting"]
    assert "1 of 1" in reason


def test_a_damaged_record_of_an_attempt_is_named(bench):
    one = bench()
    one.store.create(f"attempts/{KEY}/0001.json", b'{"key": 1')
    with pytest.raises(BadData, match=f"attempts/{KEY}/0001.json"):
        one.make()


def test_copies_beside_the_records_do_not_count(bench):
    one = bench()
    one.store.create(f"attempts/{KEY}/0001.json.aside", b"damaged")
    assert one.make().producer.attempt == 1


def test_a_failing_store_fails_the_step(bench, monkeypatch):
    one = bench()

    def refuse(*_):
        raise StoreError("no")

    monkeypatch.setattr(one.store, "create", refuse)
    monkeypatch.setattr("registry.artifacts.store.once._FIRST_DELAY", 0.0)
    with pytest.raises(StoreError):
        one.make()
    assert one.recorder.told == []


@pytest.mark.parametrize("kind", [k for k in ENDINGS if KINDS[k][1] is Remedy.REPLACE])
def test_what_the_machine_did_does_not_spend_the_budget_of_the_job(bench, kind):
    one = bench(*[ENDINGS[kind]] * 3, ENDINGS[Kind.TEMPORARY], attempts=2)
    assert one.make().producer.attempt == 5


def test_replacements_have_an_end(bench):
    one = bench(*[ENDINGS[Kind.LOST]] * 3, replacements=2)
    with pytest.raises(JobFailed) as failure:
        one.make()
    assert failure.value.failure is Kind.LOST
    assert one.kinds() == ["lost"] * 3


def test_pauses_before_replacements_double(bench):
    tries = Tries(Policy(pause=1.0, replacements=9), "s")
    assert [tries.next_pause(Kind.LOST, "s") for _ in range(9)] == [
        1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0,
    ]  # fmt: skip
    assert tries.next_pause(Kind.LOST, "s") is None


class Away:
    """A runner's method that cannot reach its world a few times."""

    def __init__(self, method, times):
        self.method, self.times = method, times

    def __call__(self, *arguments):
        if self.times:
            self.times -= 1
            raise RunnerAway("the cluster does not answer", "connection refused")
        return self.method(*arguments)


@pytest.mark.parametrize("name", ["start", "state"])
def test_a_runner_that_is_away_fails_no_step(bench, monkeypatch, name):
    monkeypatch.setattr("pipelines.dispatch.FIRST_LOOK", 0.01)
    one = bench()
    one.open(run="dead", timeout=-1 if name == "state" else 3600)
    runner = one.dispatcher._runner
    monkeypatch.setattr(runner, name, Away(getattr(runner, name), 3))
    one.make()
    assert ("waiting", STEP, "the cluster does not answer: connection refused") in one.recorder.told


def test_a_stop_is_noticed_while_the_runner_is_away(bench, monkeypatch):
    monkeypatch.setattr("pipelines.dispatch.FIRST_LOOK", 0.01)
    monkeypatch.setattr("pipelines.stop.BELIEVED", 0.0)
    one = bench()
    monkeypatch.setattr(one.dispatcher._runner, "start", Away(None, 10**9))

    def make():
        with pytest.raises(JobFailed):
            one.make()

    maker = threading.Thread(target=make)
    maker.start()
    _until(lambda: one.recorder.steps("waiting"))
    one.store.create(stop_path("run-1"), b"{}")
    maker.join(30)
    assert not maker.is_alive()


def test_a_reason_that_changes_is_told(bench, monkeypatch):
    monkeypatch.setattr("pipelines.dispatch.FIRST_LOOK", 0.01)
    one = bench(Script(hold=True))
    reasons = iter([Queued("no room"), Queued("no room"), Queued("no GPU"), Running()])
    runner = one.dispatcher._runner
    monkeypatch.setattr(runner, "state", lambda _: next(reasons, Running()))
    maker = threading.Thread(target=one.make)
    maker.start()
    _until(lambda: len(one.recorder.steps("waiting")) == 2)
    one.machine.release(attempts_of(one.store, KEY)[0])
    maker.join()
    assert [t[2] for t in one.recorder.told if t[0] == "waiting"] == ["no room", "no GPU"]


def test_no_more_than_a_cap_are_under_way(bench):
    one = bench(*[Script(hold=True)] * 6, in_flight=2)
    specs = [JobSpec("train", RecipeRecord.of(a_recipe(version=n)), {}) for n in range(1, 7)]
    makers = [threading.Thread(target=one.dispatcher.make, args=(s, STEP)) for s in specs]
    for maker in makers:
        maker.start()
    done: set[str] = set()
    while len(done) < 6:
        _until(lambda: one.machine.live_jobs())
        live = one.machine.live_jobs()
        assert len(live) <= 2
        done.add(live[0].record)
        key = live[0].record.split("/")[1]
        one.machine.release(attempts_of(one.store, key)[0])
    for maker in makers:
        maker.join()
    reasons = {told[2] for told in one.recorder.told if told[0] == "waiting"}
    assert reasons == {"2 jobs of this pipeline are under way, which is all that may be"}


def _make(pipelines, who):
    return pipelines[who].make(SPEC, STEP)


def _until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)
