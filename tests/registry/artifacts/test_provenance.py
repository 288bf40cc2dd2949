"""Which code is running, and whether it may write to prod."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.artifacts import provenance
from registry.artifacts.provenance import (
    Code,
    producer_of,
    refuse_dirty_production,
    running_code,
)
from registry.artifacts.store.memory import MemoryStore
from registry.errors import Refused
from tests.registry.makers import an_attempt


def git(folder: Path, *words: str) -> str:
    names = ["-c", "user.name=me", "-c", "user.email=me@localhost", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *names, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A clean checkout that the running code believes to be its own."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "step.py").write_text("x = 1\n")
    (folder / ".gitignore").write_text("var/\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    monkeypatch.setattr(provenance, "_ROOT", folder)
    running_code.cache_clear()
    yield folder
    running_code.cache_clear()


def test_a_clean_checkout_is_its_commit(checkout: Path):
    code = running_code()
    assert code == Code(git(checkout, "rev-parse", "HEAD"), dirty=False, lock="")
    refuse_dirty_production("prod", code)


def test_the_lock_file_is_part_of_the_code(checkout: Path):
    (checkout / "requirements.lock").write_text("x==1\n")
    assert len(running_code().lock) == 64


@pytest.mark.parametrize("change", ["edited", "staged", "deleted", "untracked source"])
def test_a_changed_checkout_is_dirty(checkout: Path, change: str):
    if change in ("edited", "staged"):
        (checkout / "step.py").write_text("x = 2\n")
    if change == "staged":
        git(checkout, "add", "step.py")
    if change == "deleted":
        (checkout / "step.py").unlink()
    if change == "untracked source":
        (checkout / "usecases" / "mine").mkdir(parents=True)
        (checkout / "usecases" / "mine" / "features.py").write_text("x = 1\n")
    code = running_code()
    assert code.dirty
    with pytest.raises(Refused, match="prod"):
        refuse_dirty_production("prod", code)
    refuse_dirty_production("staging", code)
    refuse_dirty_production("dev/prod", code)


def test_outputs_that_nobody_runs_do_not_make_a_checkout_dirty(checkout: Path):
    (checkout / "report.xml").write_text("")
    (checkout / "var").mkdir()
    (checkout / "var" / "scratch.py").write_text("")
    assert not running_code().dirty


def test_where_git_cannot_tell_the_checkout_counts_as_dirty(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    (checkout / ".git" / "index").write_bytes(b"damaged")
    assert running_code().dirty


def test_an_image_names_its_commit(checkout: Path, monkeypatch: pytest.MonkeyPatch):
    (checkout / "step.py").write_text("x = 2\n")
    monkeypatch.setenv("PENSTOCK_COMMIT", "f" * 40)
    assert running_code() == Code("f" * 40, dirty=False, lock="")


@pytest.mark.usefixtures("checkout")
def test_outside_a_checkout_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "plain").mkdir()
    monkeypatch.setattr(provenance, "_ROOT", tmp_path / "plain")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    code = running_code()
    assert code == Code("unknown", dirty=False, lock="")
    with pytest.raises(Refused, match="PENSTOCK_ENVIRONMENT"):
        refuse_dirty_production("prod/eu", code)


def test_without_git_the_commit_is_unknown(checkout: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(checkout / "nothing"))
    assert running_code().commit == "unknown"


def test_a_producer_says_who_ran_what(checkout: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NOMAD_ALLOC_ID", "alloc-1")
    attempt = an_attempt(MemoryStore(), number=2, run="run-9", runner="local")
    one, other = producer_of(attempt), producer_of(attempt)
    assert (one.run, one.attempt, one.runner, one.allocation) == ("run-9", 2, "local", "alloc-1")
    assert one.commit == git(checkout, "rev-parse", "HEAD")
    assert one.writer != other.writer
