"""Copies of artifacts: those that nothing uses go, the least used first, and never another."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from registry.artifacts.manifest import Reference
from registry.artifacts.store import Store, open_store
from registry.errors import StoreUnwritable
from registry.settings import Settings
from serving import cache as module
from serving import source as source_module
from serving.source import Source
from tests.registry.makers import a_recipe, commit_one


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    store = open_store(f"memory://{tmp_path}")
    monkeypatch.setattr(source_module, "open_environment", lambda _: store)
    return store


@pytest.fixture
def references(store: Store) -> list[Reference]:
    return [
        commit_one(store, a_recipe(date=f"2013-07-0{day}"), {"a": str(day).encode()}).reference
        for day in range(1, 6)
    ]


def a_source(tmp_path: Path, keep: int) -> Source:
    settings = Settings.load({"PENSTOCK_SERVING_CACHE_KEEP": str(keep)})
    return Source(settings, tmp_path / "cache")


def copies(tmp_path: Path) -> set[str]:
    return {path.stem for path in (tmp_path / "cache/manifests").glob("*.json")}


def fetch(source: Source, references: list[Reference], tmp_path: Path) -> None:
    """Fetch one after the other, an hour apart."""
    for age, reference in enumerate(references):
        folder = source.fetch(reference)
        assert list(folder.iterdir())
        path = tmp_path / "cache/manifests" / f"{reference.version}.json"
        os.utime(path, (1e9 + 3600 * age, 1e9 + 3600 * age))


def test_the_least_used_copies_go(tmp_path: Path, references: list[Reference]) -> None:
    source = a_source(tmp_path, keep=2)
    source.copies.protect(lambda: references[:1])
    fetch(source, references, tmp_path)
    kept = {references[0], *references[3:]}
    assert copies(tmp_path) == {reference.version for reference in kept}
    folders = {path.name for path in (tmp_path / "cache").iterdir()} - {"manifests"}
    assert folders == {reference.content for reference in kept}


def test_room_is_made_for_an_artifact_and_only_for_what_fits(
    tmp_path: Path, references: list[Reference], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = a_source(tmp_path, keep=5)
    source.copies.protect(lambda: references[:1])
    fetch(source, references[:3], tmp_path)

    def usage(_: Path) -> shutil._ntuple_diskusage:
        """Each copy that went leaves half the headroom."""
        free = (3 - len(copies(tmp_path))) * module.HEADROOM // 2
        return shutil._ntuple_diskusage(1 << 40, 0, free + 10)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    source.fetch(references[3])
    assert copies(tmp_path) == {references[0].version, references[3].version}
    source.copies.protect(lambda: references[3:4])
    with pytest.raises(StoreUnwritable, match="too full"):
        source.fetch(references[4])
    assert references[0].version in copies(tmp_path)
