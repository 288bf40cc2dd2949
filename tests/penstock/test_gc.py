"""`penstock gc` as a person meets it."""

from __future__ import annotations

import re
import time

import pytest

from tests.penstock.conftest import Imported, Place

NOTHING = ("--keep-days", "0", "--revisions", "1")


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        ("--keep-days -1", 78, "gc-keep-days"),
        ("--keep model", 78, "FAMILY=DAYS"),
        ("--cancel yesterday", 64, "'yesterday'"),
        ("--cancel 20130210T061500-3f9a1c", 66, "collections"),
        ("--revisions 0", 64, "--revisions"),
    ],
)
def test_words_that_are_off(place: Place, words: str, code: int, named: str) -> None:
    done = place.call("gc", *words.split())
    assert done.code == code, done.err
    assert named in done.err


def test_nothing_to_do(place: Place) -> None:
    text = place.ok("gc").out
    assert "kept       0 artifacts" in text
    assert "next: penstock models" in text
    assert not (place.root / "collections").exists()


def later(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    now = time.time() + days * 86400
    monkeypatch.setattr("pipelines.commands.gc.time.time", lambda: now)


def test_planned_then_deleted_a_day_later(imported: Imported, monkeypatch) -> None:
    later(monkeypatch, 2)
    dry = imported.ok("gc", *NOTHING, "--dry-run").out
    assert re.search(r"model +1 +0\.0 MiB", dry)
    assert not (imported.root / "collections").exists()
    document = imported.ok("gc", *NOTHING, "--json").document
    assert [doomed["key"] for doomed in document["garbage"]["artifacts"]] == [imported.second]
    refused = imported.call("promote", "churn@challenger", imported.second, "--why", "x")
    assert refused.code == 77
    assert f"penstock gc --cancel {document['planned']}" in refused.err
    waiting = imported.ok("gc", *NOTHING).out
    assert re.search(rf"waiting +{document['planned']}: 1 artifacts, in 24\.0 h", waiting)
    later(monkeypatch, 3.5)
    assert f"due        {document['planned']}" in imported.ok("gc", *NOTHING, "--dry-run").out
    text = imported.ok("gc", *NOTHING).out
    assert re.search(r"deleted +1 artifacts \(0\.0 MiB\), 0 files of attempts; 0 spared", text)
    assert len(list(imported.root.glob("manifests/model/churn/*"))) == 1
    assert imported.call("models", "show", imported.second).code == 66
    imported.ok("models", "show", "churn")
    imported.ok("import", "second.txt", "--name", "churn")
    imported.ok("promote", "churn", imported.second, "--why", "it is back")


def test_a_plan_can_be_withdrawn(imported: Imported, monkeypatch) -> None:
    later(monkeypatch, 2)
    plan = imported.ok("gc", *NOTHING, "--json").document["planned"]
    assert "is withdrawn" in imported.ok("gc", "--cancel", plan).out
    imported.ok("promote", "churn", imported.second, "--why", "better")
    later(monkeypatch, 4)
    imported.ok("gc", *NOTHING)
    imported.ok("models", "show", "churn")
