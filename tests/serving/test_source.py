"""Artifacts while the store is away: the copy of this machine serves, if every byte is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from registry.artifacts.store import Store, open_store
from registry.errors import ConfigError, Corrupt, Refused, StoreError
from registry.settings import Settings
from serving import source as module
from serving.source import Source
from tests.registry.makers import FILES, a_recipe, a_reference, commit_one
from tests.servers import fixtures
from tests.servers.s3 import s3_server
from tests.serving.conftest import Trained
from tests.serving.rig import Publisher, eventually, service


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"memory://{tmp_path}")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, store: Store) -> Callable[[Exception | None], None]:
    """`opened(None)`: the store is there; `opened(error)`: opening it fails so."""

    def set_to(outcome: Exception | None) -> None:
        def open_it(_: Settings) -> Store:
            if outcome:
                raise outcome
            return store

        monkeypatch.setattr(module, "open_environment", open_it)

    set_to(None)
    return set_to


def a_source(tmp_path: Path) -> Source:
    return Source(Settings.load({}), tmp_path / "cache")


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


AWAY = StoreError("the store is away")


def test_a_copy_needs_no_store(
    tmp_path: Path, store: Store, opened: Callable[[Exception | None], None]
) -> None:
    reference = commit_one(store).reference
    assert contents(a_source(tmp_path).fetch(reference)) == FILES
    opened(AWAY)
    later = a_source(tmp_path)
    later.open()
    assert contents(later.fetch(reference)) == FILES
    with pytest.raises(StoreError, match="away"):
        later.fetch(a_reference())


@pytest.mark.parametrize("damaged", ["file", "manifest", "missing file", "another manifest"])
def test_a_copy_that_is_not_as_promised_is_fetched_again(
    tmp_path: Path,
    store: Store,
    opened: Callable[[Exception | None], None],
    damaged: str,
) -> None:
    reference = commit_one(store).reference
    other = commit_one(store, a_recipe(date="2013-07-01"), {"a": b"1"}).reference
    folder = a_source(tmp_path).fetch(reference)
    manifest = tmp_path / "cache/manifests" / f"{reference.version}.json"
    if damaged == "file":
        (folder / "model.txt").write_bytes(b"tree?")
    elif damaged == "manifest":
        manifest.write_bytes(manifest.read_bytes().replace(b"flights", b"flighty"))
    elif damaged == "missing file":
        (folder / "model.txt").unlink()
    else:
        manifest.write_bytes(store.get(other.path))
    opened(AWAY)
    with pytest.raises(StoreError, match="away"):
        a_source(tmp_path).fetch(reference)
    opened(None)
    assert contents(a_source(tmp_path).fetch(reference)) == FILES
    opened(AWAY)
    assert contents(a_source(tmp_path).fetch(reference)) == FILES


def test_what_was_not_promised_is_not_kept(
    tmp_path: Path, store: Store, opened: Callable[[Exception | None], None]
) -> None:
    reference = commit_one(store).reference
    promised = msgspec.structs.replace(reference, version="../../outside")
    with pytest.raises(Corrupt):
        a_source(tmp_path).fetch(promised)
    assert not list(tmp_path.rglob("*.json"))


def test_a_cache_that_cannot_be_written_hinders_nothing_that_is_there(
    tmp_path: Path, store: Store, opened: Callable[[Exception | None], None]
) -> None:
    reference = commit_one(store).reference
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/manifests").write_text("a file where the folder should be")
    assert contents(a_source(tmp_path).fetch(reference)) == FILES


def test_a_store_that_cannot_be_used_is_told_at_the_start(
    tmp_path: Path, opened: Callable[[Exception | None], None]
) -> None:
    for error in (ConfigError("no such kind"), Refused("conditions are ignored")):
        opened(error)
        with pytest.raises(type(error)):
            a_source(tmp_path).open()


def test_a_folder_is_read_in_place(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path)
    reference = commit_one(publisher.store).reference
    found = Source(Settings.load(publisher.environment), tmp_path / "cache").fetch(reference)
    assert found.is_relative_to(tmp_path / "store")
    assert not (tmp_path / "cache").exists()


def test_a_service_starts_while_its_store_is_away(
    tmp_path: Path, bundles: dict[str, Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server(fixtures.require("versitygw"), tmp_path) as server:
        fixtures.set_environment(monkeypatch, server.environment)
        publisher = Publisher(tmp_path, server.url("models"))
        publisher.publish("flights", bundles["lightgbm-1"].folder)
        with service(publisher, tmp_path / "service"):
            pass
    with service(publisher, tmp_path / "service") as running:
        assert running.revision() == 1
        eventually("the complaint", lambda: "the store is away" in running.log)
