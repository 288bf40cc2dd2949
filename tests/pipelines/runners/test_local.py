"""What only the runner of this machine does: limits, logs, secrets, folders."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pipelines.runners.launch import Limits
from pipelines.runners.local import LocalRunner
from pipelines.runners.protocol import job_command
from pipelines.runners.shim import EXIT, LOG
from pipelines.runners.sizes import Capacity, machine_capacity
from pipelines.runners.states import Kind, Running, Unknown
from registry.errors import Corrupt, StoreUnwritable
from registry.settings import Settings
from tests.contracts.rigs import PATIENCE, REFERENCE, ROOMY, Does, end_of, eventually, new_attempt


def run(var: Path, command: list[str], limits: Limits | None = None, **changes):
    """Run a command as a job; returns its end, its log, and the folder."""
    attempt = new_attempt(**changes)
    with LocalRunner(var, ROOMY, command=lambda *_: command, host="here", limits=limits) as runner:
        runner.start(attempt, REFERENCE)
        ended = runner.wait(attempt, PATIENCE)
        assert ended is not None
        return ended, runner.log_tail(attempt), runner._folder(attempt)


def python(code: str, *words: str) -> list[str]:
    return [sys.executable, "-c", code, *words]


def test_usage_is_measured(tmp_path):
    ended, *_ = run(tmp_path, python("b = b'x' * (100 << 20); sum(range(10**6))"))
    assert ended.usage.peak_mb > 100
    assert ended.usage.cpu_s > 0
    assert ended.usage.wall_s > 0


def test_importing_the_numeric_libraries_fits_the_smallest_size(tmp_path):
    code = (
        "import lightgbm, catboost, pyarrow.parquet, numpy as np\n"
        "x = np.random.default_rng(1).random((1000, 5))\n"
        "lightgbm.train({'verbose': -1}, lightgbm.Dataset(x, x[:, 0]), 2)\n"
        "pyarrow.parquet.write_table(pyarrow.table({'x': x[:, 0]}), pyarrow.BufferOutputStream())"
    )
    ended, log, _ = run(tmp_path, python(code), size="s")
    assert (ended.kind, log.decode()) == (None, "")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to RLIMIT_DATA")
@pytest.mark.parametrize(
    "code",
    [
        "bytearray(3 << 30)",
        "import numpy; numpy.ones(3 << 27)",
        "import pyarrow; pyarrow.allocate_buffer(3 << 30)",
        "import subprocess as s, sys; s.check_call([sys.executable, '-c', 'bytearray(3 << 30)'])",
    ],
)
def test_a_refused_allocation_is_a_case_of_memory(tmp_path, code):
    ended, *_ = run(tmp_path, python(code), size="s")
    assert ended.kind is Kind.OOM


def test_a_larger_size_allows_more(tmp_path):
    ended, *_ = run(tmp_path, python("import mmap; mmap.mmap(-1, 3 << 30, 2)"), size="m")
    assert ended.kind is None


def test_what_a_job_leaves_behind_is_ended(tmp_path):
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid)"
    )
    ended, log, _ = run(tmp_path, python(code))
    assert ended.kind is None
    eventually(lambda: not _is_alive(int(log)), "the job's child has ended")


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_a_job_that_ignores_sigterm_is_killed(tmp_path):
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
    attempt = new_attempt()
    limits = Limits(grace_s=0.1)
    with LocalRunner(
        tmp_path, ROOMY, command=lambda *_: python(code), host="here", limits=limits
    ) as runner:
        runner.start(attempt, REFERENCE)
        eventually(lambda: isinstance(runner.state(attempt), Running), "the job runs")
        runner.stop(attempt)
        assert end_of(runner, attempt).kind is Kind.STOPPED


def test_the_log_is_bounded_and_keeps_both_ends(tmp_path):
    code = (
        "print('first line', flush=True)\n"
        "for _ in range(400): print('x' * 9999, flush=True)\n"
        "print('last line', flush=True)"
    )
    limits = Limits(log_bytes=100_000)
    ended, _, folder = run(tmp_path, python(code), limits)
    log = (folder.path / LOG).read_bytes()
    assert ended.kind is None
    assert log.startswith(b"first line\n")
    assert len(log) < 110_000
    assert b"was dropped here" in log


def test_secrets_of_the_environment_reach_the_job_and_no_file_or_command_line(
    weird_tmp_path, monkeypatch
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-4711")
    code = (
        "import os, sys, pathlib, time\n"
        "assert os.environ['AWS_SECRET_ACCESS_KEY'].endswith('-4711')\n"
        "shim = pathlib.Path('/proc', str(os.getppid()), 'cmdline')\n"
        "print(shim.read_bytes() if shim.exists() else '', sys.argv)"
    )
    ended, *_ = run(weird_tmp_path, python(code))
    assert ended.kind is None
    files = [path for path in weird_tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 4
    assert not [path for path in files if b"canary" in path.read_bytes()]


def test_the_job_runs_where_the_pipeline_does_with_nothing_on_standard_input(tmp_path):
    code = "import os, sys; print(os.getcwd(), repr(sys.stdin.read()))"
    _, log, _ = run(tmp_path, python(code))
    assert log.decode().strip() == f"{Path.cwd()} ''"


def test_a_program_that_is_not_there_is_an_exit_with_the_reason(tmp_path):
    ended, log, _ = run(tmp_path, ["/no/such/interpreter"])
    assert (ended.kind, ended.exit_code) == (Kind.EXIT, 127)
    assert b"cannot start /no/such/interpreter" in log


def test_the_command_of_a_job_names_the_record_and_nothing_else():
    command = job_command(new_attempt(), REFERENCE)
    assert command[:3] == [sys.executable, "-m", "jobs"]
    assert command[3::2] == ["--root", "--attempt", "--digest"]
    assert tuple(command[4::2]) == REFERENCE


def test_attempts_of_others_are_unknown_and_left_alone(tmp_path):
    with LocalRunner(tmp_path, ROOMY, host="here") as runner:
        for attempt in (new_attempt(host="there"), new_attempt(runner="nomad")):
            runner.start(attempt, REFERENCE)
            state = runner.state(attempt)
            assert isinstance(state, Unknown)
            assert "there" in state.reason or "nomad" in state.reason
            assert runner.wait(attempt, 0.05) is None
    assert not (tmp_path / "jobs").exists()


def test_the_same_key_and_number_in_another_store_is_another_attempt(tmp_path):
    code = python("raise SystemExit(75)")
    first = new_attempt()
    with LocalRunner(tmp_path, ROOMY, command=lambda *_: code, host="here") as runner:
        runner.start(first, REFERENCE)
        assert end_of(runner, first).kind is Kind.TEMPORARY
        second = new_attempt(key=first.key)
        assert isinstance(runner.state(second), Unknown)


@pytest.mark.parametrize("damage", [b"{", b'{"cause": "sunspots"}', b'{"surprise": 1}', b"{}"])
def test_a_damaged_record_is_an_error_to_who_asks(rig, damage):
    with rig.runner() as runner:
        attempt = rig.attempt(Does())
        runner.start(attempt, REFERENCE)
        runner.wait(attempt, PATIENCE)
        (rig.folder(attempt).path / EXIT).write_bytes(damage)
        with pytest.raises(Corrupt):
            runner.state(attempt)
        with pytest.raises(Corrupt):
            runner.wait(attempt, PATIENCE)
        other = rig.attempt(Does())
        runner.start(other, REFERENCE)
        assert runner.wait(other, PATIENCE).kind is None


def test_a_record_damaged_while_somebody_waits_wakes_him(rig):
    with rig.runner() as runner:
        attempt = rig.attempt(Does(hold=True))
        runner.start(attempt, REFERENCE)
        eventually(lambda: isinstance(runner.state(attempt), Running), "the job runs")
        (rig.folder(attempt).path / EXIT).write_bytes(b"{")
        with pytest.raises(Corrupt, match="damaged"):
            runner.wait(attempt, PATIENCE)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "jobs").write_text("a file where the folder should be")
    with (
        LocalRunner(tmp_path, ROOMY, host="here") as runner,
        pytest.raises(StoreUnwritable, match="PENSTOCK_VAR"),
    ):
        runner.start(new_attempt(), REFERENCE)


def test_an_error_of_a_queued_start_reaches_who_waits(rig, monkeypatch):
    with rig.runner(Capacity(1, 1024)) as runner:
        first, second = rig.attempt(Does(hold=True)), rig.attempt(Does())
        runner.start(first, REFERENCE)
        runner.start(second, REFERENCE)
        blocked = rig.folder(second).path
        blocked.write_text("a file where the folder should be")
        rig.release(first)
        with pytest.raises(StoreUnwritable):
            runner.wait(second, PATIENCE)


def test_no_room_before_the_deadline_is_worth_another_attempt(rig):
    with rig.runner(Capacity(1, 1024)) as runner:
        first = rig.attempt(Does(hold=True))
        runner.start(first, REFERENCE)
        late = rig.attempt(Does(), deadline=first.created)
        runner.start(late, REFERENCE)
        rig.release(first)
        ended = runner.wait(late, PATIENCE)
        assert ended.kind is Kind.TEMPORARY
        assert "before there was room" in ended.reason
        assert rig.runs(late) == 0


def test_the_settings_make_a_runner(tmp_path):
    settings = Settings.load({}, var=str(tmp_path), local_cpus="3", local_log_mb="1")
    with LocalRunner.of(settings) as runner:
        assert runner.capacity.cpus == 3
        assert runner.capacity.memory_mb == machine_capacity().memory_mb
        assert runner.host == os.uname().nodename
