from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from registry import steps
from registry.errors import BadData
from registry.usecase import STEPS


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in ("jobs", "usecases", "registry"):
        shutil.copytree(steps.ROOT / folder, tmp_path / folder)
    return tmp_path


def test_every_changed_step_has_a_raised_version_and_is_recorded() -> None:
    now, before = steps.present(), steps.recorded()
    assert steps.forgotten(now, before) == [], "raise the version, then `make steps`"
    assert now == before, "run `make steps`"


def test_sources_reach_the_job_the_use_case_and_what_they_import() -> None:
    names = {
        str(path.relative_to(steps.ROOT)) for path in steps.step_sources("flights", "features")
    }
    assert {
        "jobs/features.py",
        "usecases/flights/features.py",
        "usecases/flights/label.py",
    } <= names
    assert "registry/features/asof.py" in names
    assert "usecases/flights/settings.py" not in names, "it holds the version itself"


@pytest.mark.parametrize("step", STEPS)
def test_a_changed_statement_changes_the_digest_a_comment_does_not(tree: Path, step: str) -> None:
    before = steps.step_digest("flights", step, tree)
    source = tree / "jobs" / f"{step}.py"
    source.write_text(source.read_text() + "\n# a remark\n\n")
    assert steps.step_digest("flights", step, tree) == before
    source.write_text(source.read_text() + "CHANGED = 1\n")
    assert steps.step_digest("flights", step, tree) != before


def test_a_change_deep_below_is_seen(tree: Path) -> None:
    before = steps.step_digest("flights", "train", tree)
    deep = tree / "registry/models/signature.py"
    deep.write_text(deep.read_text() + "CHANGED = 1\n")
    assert steps.step_digest("flights", "train", tree) != before


def test_a_forgotten_version_is_named_and_a_raised_one_is_not() -> None:
    before: steps.Entries = {"flights": {"train": {"version": 1, "sources": "a"}}}
    assert steps.forgotten({"flights": {"train": {"version": 1, "sources": "b"}}}, before) == [
        "flights/train"
    ]
    assert steps.forgotten({"flights": {"train": {"version": 2, "sources": "b"}}}, before) == []


def test_a_new_step_is_not_forgotten() -> None:
    assert steps.forgotten({"new": {"train": {"version": 1, "sources": "b"}}}, {}) == []


def test_a_damaged_list_is_named(tmp_path: Path) -> None:
    damaged = tmp_path / "steps.lock"
    damaged.write_text("{")
    with pytest.raises(BadData, match=r"steps\.lock is not JSON"):
        steps.recorded(damaged)


def test_docstrings_do_not_count() -> None:
    assert steps.significant_text('"""One."""\nX = 1\n') == steps.significant_text(
        '"""Two.\n\nLonger.\n"""\n\nX = 1\n'
    )
