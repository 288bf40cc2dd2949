"""Leftovers of this machine: what is old, over and held by nobody."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

import pytest

from pipelines.runners.folder import LOCKS
from pipelines.runners.shim import JOB
from pipelines.sweep import leftovers, remove
from registry.settings import Settings

NOW = time.time() + 10 * 86400


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    env = {"PENSTOCK_STORE": str(tmp_path / "store"), "PENSTOCK_VAR": str(tmp_path / "var")}
    return Settings.load(env)


def a_job(settings: Settings, name: str, deadline: float = NOW - 1) -> Path:
    folder = Path(settings.var) / "jobs" / name
    folder.mkdir(parents=True)
    (folder / JOB).write_text(json.dumps({"deadline": deadline}))
    return folder


def test_nothing_there(settings: Settings):
    assert leftovers(settings, NOW) == []


def test_old_jobs_are_over(settings: Settings):
    old = a_job(settings, "old")
    a_job(settings, "may-still-commit", deadline=NOW + 1)
    os.utime(a_job(settings, "young") / JOB, (NOW, NOW))
    (a_job(settings, "odd") / JOB).write_text("{")
    assert leftovers(settings, NOW) == [old]
    remove([old, old])
    assert not old.exists()


def test_a_job_that_runs_is_left(settings: Settings):
    folder = a_job(settings, "running")
    locks = folder.parent / LOCKS
    locks.mkdir()
    with (locks / "running.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert leftovers(settings, NOW) == []
    assert leftovers(settings, NOW) == [folder]


def test_half_written_objects_and_scratch_stores_go(settings: Settings, tmp_path: Path):
    half = tmp_path / "store/.incoming/tmpabc"
    scratch = tmp_path / "var/scratch/tmpdef"
    for path in (half.parent, scratch):
        path.mkdir(parents=True)
    half.write_bytes(b"x")
    assert leftovers(settings, time.time()) == []
    found = leftovers(settings, NOW)
    assert set(found) == {half, scratch}
    remove(found)
    assert not half.exists()
