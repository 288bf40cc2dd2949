"""`penstock reproduce` as a person meets it."""

from __future__ import annotations

import re

import pytest

from pipelines.runners.machine import commit_files
from pipelines.runners.stub import StubRunner
from registry.artifacts.provenance import libraries
from tests.penstock.conftest import Imported, Place
from tests.penstock.test_runs import WORDS, Jobs, jobs

__all__ = ["jobs"]  # a fixture


@pytest.mark.parametrize(
    ("words", "code"),
    [("", 64), ("short", 64), ("0123456789abcdef", 66), ("--all 20130210T061500-3f9a1c", 66)],
)
def test_words_that_are_off(place: Place, words: str, code: int) -> None:
    assert place.call("reproduce", *words.split()).code == code


def test_an_imported_model_cannot_be_made_again(imported: Imported) -> None:
    done = imported.call("reproduce", imported.first)
    assert done.code == 77
    assert "imported from a file" in done.err


def test_what_was_imported_is_left_out_of_everything(imported: Imported) -> None:
    text = imported.ok("reproduce", "--all").out
    assert text.count("this model was imported from a file") == 2
    assert "0 equal, 0 different" in text


def test_everything_of_a_run_is_equal(place: Place, jobs: Jobs, monkeypatch) -> None:
    made = place.ok("run", *WORDS, "--json").document
    open_runner = "pipelines.commands.reproduce.open_runner"
    monkeypatch.setattr(open_runner, lambda _: StubRunner(jobs))
    text = place.ok("reproduce", "--all", made["run"]).out
    assert f"{len(made['made'])} equal, 0 different" in text
    assert not list((place.folder / "var/scratch").iterdir())
    text = place.ok("reproduce", "--all").out
    assert f"{len(made['made'])} equal, 0 different" in text
    assert "equal despite" not in text
    key = made["made"][0]
    now = libraries() | {"lightgbm": "99.0"}
    with monkeypatch.context() as patched:
        patched.setattr("pipelines.reproduce.libraries", lambda: now)
        told = place.ok("reproduce", key).out
    assert f"equal despite lightgbm {libraries()['lightgbm']} → 99.0\n" in told
    monkeypatch.setattr(open_runner, lambda _: StubRunner(commit_files({"data": b"other"})))
    done = place.call("reproduce", key, "--keep")
    assert done.code == 65
    assert re.search(rf"DIFFERENT +ingest flights .*{key[:16]}\n +data: byte 0 of 64", done.out)
    assert "since then   nothing known differs" in done.out
    (kept,) = re.findall(r"kept +(\S+)", done.out)
    assert (place.folder / kept / key[:16] / "store").is_dir()
    (verdict,) = place.call("reproduce", key, "--json").document["verdicts"]
    assert verdict["files"] == [{"path": "data", "where": verdict["files"][0]["where"]}]
