"""What every runner promises, over all implementations."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pipelines.runners.protocol import Runner, RunnerClosed
from pipelines.runners.sizes import Capacity
from pipelines.runners.states import Ended, Kind, Queued, Running, Unknown, Vanished
from registry.artifacts.attempt import Attempt
from registry.errors import UsageError
from tests.contracts.nomad_rig import NomadRig
from tests.contracts.rigs import PATIENCE, REFERENCE, RIGS, Does, Rig, end_of, eventually

ONE_JOB = Capacity(cpus=1, memory_mb=1024)
HOLD = Does(hold=True)


@pytest.fixture(params=[*RIGS, "nomad"])
def rig(request, weird_tmp_path: Path):
    made: Rig
    if request.param == "nomad":
        made = NomadRig(weird_tmp_path, request.getfixturevalue("nomad_server"))
    else:
        made = RIGS[request.param](weird_tmp_path)
    yield made
    made.close()


@pytest.fixture
def runner(rig: Rig):
    made = rig.runner()
    yield made
    made.close()


def run(rig: Rig, runner: Runner, does: Does, **changes) -> Ended:
    attempt = rig.attempt(does, **changes)
    runner.start(attempt, REFERENCE)
    return end_of(runner, attempt)


def start_running(rig: Rig, runner: Runner, does: Does = HOLD, **changes):
    attempt = rig.attempt(does, **changes)
    runner.start(attempt, REFERENCE)
    is_running(runner, attempt)
    return attempt


def is_running(runner: Runner, attempt) -> None:
    eventually(lambda: isinstance(runner.state(attempt), Running), "the job runs")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (0, None),
        (1, Kind.EXIT),
        (64, Kind.EXIT),
        (65, Kind.BAD_DATA),
        (70, Kind.EXIT),
        (71, Kind.OOM),
        (75, Kind.TEMPORARY),
    ],
)
def test_exit_codes_become_kinds(rig, runner, code, kind):
    ended = run(rig, runner, Does(exit_code=code))
    assert (ended.exit_code, ended.signal, ended.kind) == (code, None, kind)


def test_a_signal_is_told_from_an_exit(rig, runner):
    ended = run(rig, runner, Does(signal=15))
    assert (ended.exit_code, ended.signal, ended.kind) == (None, 15, Kind.SIGNAL)


def test_a_killed_job_is_a_signal(rig, runner):
    attempt = start_running(rig, runner)
    rig.kill(attempt)
    assert end_of(runner, attempt).kind is Kind.SIGNAL


def test_memory_is_recognised(rig, runner):
    assert run(rig, runner, Does(hungry=True)).kind is Kind.OOM


def test_the_deadline_ends_a_job(rig, runner):
    attempt = start_running(rig, runner)
    soon = rig.attempt(HOLD, deadline=attempt.created + 1.5)
    runner.start(soon, REFERENCE)
    assert end_of(runner, soon).kind in {Kind.TIMEOUT, Kind.TEMPORARY}
    assert isinstance(runner.state(attempt), Running)


def test_stop_ends_a_running_job(rig, runner):
    attempt = start_running(rig, runner)
    runner.stop(attempt)
    assert end_of(runner, attempt).kind is Kind.STOPPED


def test_stop_takes_a_job_from_the_queue(rig):
    runner = rig.runner(ONE_JOB)
    first = start_running(rig, runner)
    second = rig.attempt(Does())
    runner.start(second, REFERENCE)
    runner.stop(second)
    assert end_of(runner, second).kind is Kind.STOPPED
    rig.release(first)
    assert end_of(runner, first).kind is None
    runner.start(second, REFERENCE)
    assert rig.runs(second) == 0
    runner.close()


def test_stop_does_nothing_to_what_ended_or_never_began(rig, runner):
    attempt = rig.attempt(Does())
    runner.stop(attempt)
    assert isinstance(runner.state(attempt), Unknown)
    runner.start(attempt, REFERENCE)
    ended = end_of(runner, attempt)
    runner.stop(attempt)
    assert runner.state(attempt) == ended


def test_starting_twice_runs_once(rig, runner):
    attempt = start_running(rig, runner)
    runner.start(attempt, REFERENCE)
    rig.release(attempt)
    ended = end_of(runner, attempt)
    runner.start(attempt, REFERENCE)
    assert end_of(runner, attempt) == ended
    assert rig.runs(attempt) == 1


def test_racing_starters_run_once(rig):
    runners = [rig.runner() for _ in range(4)]
    attempt = rig.attempt(Does())
    barrier = threading.Barrier(len(runners))

    def start(runner: Runner) -> None:
        barrier.wait()
        runner.start(attempt, REFERENCE)

    threads = [threading.Thread(target=start, args=(runner,)) for runner in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [end_of(runner, attempt).kind for runner in runners] == [None] * 4
    assert rig.runs(attempt) == 1
    for runner in runners:
        runner.close()


def test_beyond_capacity_jobs_queue(rig):
    runner = rig.runner(ONE_JOB)
    attempts = [rig.attempt(HOLD) for _ in range(3)]
    for attempt in attempts:
        runner.start(attempt, REFERENCE)
    while attempts:
        first = next_to_run(rig, runner, attempts)
        for later in attempts:
            say_why_queued(runner, later)
            assert rig.runs(later) == 0
        rig.release(first)
        assert end_of(runner, first).kind is None
    runner.close()


def next_to_run(rig: Rig, runner: Runner, attempts: list[Attempt]) -> Attempt:
    """Wait until one of `attempts` runs, and take it from them."""
    candidates = attempts[:1] if rig.in_order else list(attempts)
    eventually(
        lambda: any(isinstance(runner.state(each), Running) for each in candidates), "one runs"
    )
    running = [each for each in candidates if isinstance(runner.state(each), Running)]
    assert len(running) == 1
    attempts.remove(running[0])
    return running[0]


def say_why_queued(runner: Runner, attempt) -> None:
    def said() -> bool:
        state = runner.state(attempt)
        assert isinstance(state, Queued)
        return "1 of 1" in state.reason

    eventually(said, "the reason is known")


def test_what_never_fits_ends_at_once_with_the_reason(rig):
    runner = rig.runner(ONE_JOB)
    busy = start_running(rig, runner)
    ended = run(rig, runner, Does(), size="xl")
    assert ended.kind is Kind.NO_FIT
    assert all(word in ended.reason for word in rig.never_fits_words(ONE_JOB)), ended.reason
    rig.release(busy)
    assert end_of(runner, busy).kind is None
    runner.close()


def test_a_new_runner_finds_running_jobs(rig):
    first = rig.runner()
    attempt = start_running(rig, first)
    first.close()
    second = rig.runner()
    second.start(attempt, REFERENCE)
    assert isinstance(second.state(attempt), Running)
    rig.release(attempt)
    assert end_of(second, attempt).kind is None
    assert rig.runs(attempt) == 1
    second.close()


def test_a_new_runner_counts_running_jobs(rig):
    first = rig.runner(ONE_JOB)
    attempt = start_running(rig, first)
    first.close()
    second = rig.runner(ONE_JOB)
    later = rig.attempt(Does())
    second.start(later, REFERENCE)
    assert isinstance(second.state(later), Queued)
    rig.release(attempt)
    assert end_of(second, later).kind is None
    second.close()


def test_the_queue_of_a_closed_runner_goes_on_with_the_next(rig):
    first = rig.runner(ONE_JOB)
    busy = start_running(rig, first)
    queued = rig.attempt(Does())
    first.start(queued, REFERENCE)
    first.close()
    second = rig.runner(ONE_JOB)
    assert isinstance(second.state(queued), Queued if rig.keeps_queue else Unknown)
    second.start(queued, REFERENCE)
    rig.release(busy)
    assert end_of(second, queued).kind is None
    assert rig.runs(queued) == 1
    second.close()


def test_a_vanished_job_is_lost_to_who_waits(rig, runner):
    attempt = start_running(rig, runner)
    rig.lose(attempt)
    assert end_of(runner, attempt).kind is Kind.LOST
    assert isinstance(runner.state(attempt), Vanished)
    runner.start(attempt, REFERENCE)
    assert isinstance(runner.state(attempt), Vanished)


def test_room_of_a_vanished_job_is_free_again(rig):
    runner = rig.runner(ONE_JOB)
    attempt = start_running(rig, runner)
    later = rig.attempt(Does())
    runner.start(later, REFERENCE)
    rig.lose(attempt)
    assert end_of(runner, later).kind is None
    runner.close()


def test_never_started_is_unknown_and_waits_in_vain(rig, runner):
    attempt = rig.attempt(Does())
    assert isinstance(runner.state(attempt), Unknown)
    assert runner.wait(attempt, 0.05) is None
    assert runner.log_tail(attempt) == b""


def test_the_log_ends_with_what_was_printed_last(rig, runner):
    attempt = rig.attempt(Does(prints="α" * 1000 + "the end"))
    runner.start(attempt, REFERENCE)
    end_of(runner, attempt)
    assert runner.log_tail(attempt).decode() == "α" * 1000 + "the end"
    assert runner.log_tail(attempt, 7) == b"the end"


def test_many_may_wait_for_one_attempt(rig, runner):
    attempt = start_running(rig, runner)
    found: list[Ended | None] = []
    threads = [
        threading.Thread(target=lambda: found.append(runner.wait(attempt, PATIENCE)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    rig.release(attempt)
    for thread in threads:
        thread.join()
    assert [ended and ended.exit_code for ended in found] == [0] * 8


def test_close_wakes_who_waits_and_leaves_the_job(rig):
    runner = rig.runner()
    attempt = start_running(rig, runner)
    raised: list[type[Exception]] = []

    def wait() -> None:
        try:
            runner.wait(attempt)
        except RunnerClosed as error:
            raised.append(type(error))

    thread = threading.Thread(target=wait)
    thread.start()
    runner.close()
    thread.join(PATIENCE)
    assert raised == [RunnerClosed]
    with pytest.raises(RunnerClosed):
        runner.start(rig.attempt(Does()), REFERENCE)
    other = rig.runner()
    assert isinstance(other.state(attempt), Running)
    other.close()


def test_an_unknown_size_is_refused(rig, runner):
    attempt = rig.attempt(Does(), size="xxl")
    with pytest.raises(UsageError, match="xxl"):
        runner.start(attempt, REFERENCE)
    assert isinstance(runner.state(attempt), Unknown)


@pytest.mark.usefixtures("no_fd_leaks", "no_thread_leaks")
def test_nothing_is_left_open(rig):
    runner = rig.runner()
    for _ in range(3):
        run(rig, runner, Does())
    runner.close()
