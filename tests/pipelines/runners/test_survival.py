"""Pipelines, shims and jobs killed at every moment, with real processes and SIGKILL."""

from __future__ import annotations

import os
import signal

import msgspec
import pytest

from pipelines.runners.shim import EXIT, STARTED, lock_is_held
from pipelines.runners.states import Kind, Running, Unknown, Vanished
from registry.crashpoints import POINTS
from tests.contracts.rigs import PATIENCE, REFERENCE, Does, eventually

HOLD = Does(hold=True)


def is_running(runner, attempt):
    eventually(lambda: isinstance(runner.state(attempt), Running), "the job runs")


def held_job(rig, runner):
    """A job that holds, and has come as far as its own first line."""
    attempt = rig.attempt(HOLD)
    runner.start(attempt, REFERENCE)
    eventually(lambda: rig.runs(attempt), "the job came to its work")
    return attempt


def test_a_job_survives_the_pipeline(rig, pipeline):
    attempt = rig.attempt(HOLD)
    process = pipeline(attempt)
    assert process.stdout.readline() == "started\n"
    with rig.runner() as runner:
        is_running(runner, attempt)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert isinstance(runner.state(attempt), Running)
        runner.start(attempt, REFERENCE)
        rig.release(attempt)
        assert runner.wait(attempt, PATIENCE).exit_code == 0
    assert rig.runs(attempt) == 1


def test_a_signal_to_the_group_of_the_pipeline_spares_the_job(rig):
    with rig.runner() as runner:
        attempt = held_job(rig, runner)
        groups = {os.getpgid(rig.pid(attempt, which)) for which in ("pid", "shim")}
        sessions = {os.getsid(rig.pid(attempt, which)) for which in ("pid", "shim")}
        assert len(groups) == 2
        assert os.getpgid(0) not in groups
        assert os.getsid(0) not in sessions


def test_two_processes_start_one_job(rig, pipeline):
    attempt = rig.attempt(HOLD)
    processes = [pipeline(attempt) for _ in range(2)]
    assert [process.stdout.readline() for process in processes] == ["started\n"] * 2
    rig.release(attempt)
    assert [process.stdout.readline() for process in processes] == ["None\n"] * 2
    assert rig.runs(attempt) == 1


@pytest.mark.parametrize("point", [p for p in POINTS if p.startswith(("runner.", "shim."))])
def test_a_crash_point_loses_nothing(rig, pipeline, tmp_path, point):
    """The pipeline or the shim dies at the point; a later start ends with one finished job."""
    attempt, log = rig.attempt(Does()), tmp_path / "crashes"
    process = pipeline(attempt, PENSTOCK_CRASH_AT=point, PENSTOCK_CRASH_LOG=str(log))
    process.wait(PATIENCE)
    assert log.read_text() == f"{point}\n"
    with rig.runner() as runner:
        runner.start(attempt, REFERENCE)
        ended = runner.wait(attempt, PATIENCE)
    assert ended.kind is (Kind.LOST if point == "shim.before_exit_file" else None)
    assert rig.runs(attempt) == 1


def test_a_job_survives_its_shim(rig):
    with rig.runner() as runner:
        attempt = held_job(rig, runner)
        rig.kill_shim(attempt)
        eventually(rig.folder(attempt).is_orphan, "the shim is gone")
        assert isinstance(runner.state(attempt), Running)
        rig.release(attempt)
        assert runner.wait(attempt, PATIENCE).kind is Kind.LOST
        assert isinstance(runner.state(attempt), Vanished)
    assert rig.runs(attempt) == 1


def test_a_job_without_shim_can_be_stopped(rig):
    with rig.runner() as runner:
        attempt = held_job(rig, runner)
        rig.kill_shim(attempt)
        eventually(rig.folder(attempt).is_orphan, "the shim is gone")
        runner.stop(attempt)
        assert runner.wait(attempt, PATIENCE).kind is Kind.STOPPED


def test_a_job_without_shim_ends_at_its_deadline(rig):
    with rig.runner() as runner:
        attempt = held_job(rig, runner)
        rig.kill_shim(attempt)
        eventually(rig.folder(attempt).is_orphan, "the shim is gone")
        late = msgspec.structs.replace(attempt, deadline=attempt.created)
        assert runner.wait(late, PATIENCE).kind is Kind.TIMEOUT


def test_a_process_that_took_the_number_of_a_job_is_spared(rig):
    with rig.runner() as runner:
        attempt = held_job(rig, runner)
        rig.kill_shim(attempt)
        folder = rig.folder(attempt)
        eventually(folder.is_orphan, "the shim is gone")
        started = (folder.path / STARTED).read_text()
        (folder.path / STARTED).write_text(started.replace('"birth": ', '"birth": 9'))
        folder.kill()
        os.kill(rig.pid(attempt), 0)
        rig.release(attempt)
        assert runner.wait(attempt, PATIENCE).kind is Kind.LOST


def test_after_a_reboot_the_job_has_vanished_and_its_room_is_free(rig):
    with rig.runner() as runner:
        attempt = rig.attempt(Does())
        runner.start(attempt, REFERENCE)
        runner.wait(attempt, PATIENCE)
    # A power cut leaves the files written so far, and no lock.
    folder = rig.folder(attempt)
    eventually(lambda: not lock_is_held(str(folder.lock)), "the shim has gone, too")
    (folder.path / EXIT).unlink()
    folder.lock.write_text('{"cpus": 8, "memory_mb": 8192}')
    with rig.runner() as runner:
        assert isinstance(runner.state(attempt), Vanished)
        assert runner.wait(attempt, PATIENCE).kind is Kind.LOST
        other = rig.attempt(Does())
        runner.start(other, REFERENCE)
        assert runner.wait(other, PATIENCE).kind is None


def test_a_shim_that_dies_before_its_job_is_an_end(rig, monkeypatch):
    """The runner is told, rather than waiting for a start that nobody will make."""
    with rig.runner() as runner:
        attempt = rig.attempt(Does())
        monkeypatch.setattr("pipelines.runners.shim.__file__", str(rig.var / "no such shim.py"))
        runner.start(attempt, REFERENCE)
        ended = runner.wait(attempt, PATIENCE)
    assert ended.kind is Kind.LOST
    assert "its shim ended" in ended.reason
    assert rig.runs(attempt) == 0


def test_a_start_that_never_came_to_its_job_can_be_repeated(rig, pipeline, tmp_path):
    attempt = rig.attempt(Does())
    process = pipeline(attempt, PENSTOCK_CRASH_AT="runner.before_spawn")
    process.wait(PATIENCE)
    with rig.runner() as runner:
        assert isinstance(runner.state(attempt), Unknown)
        assert rig.folder(attempt).path.exists()
