"""Nothing is handed out whose digest was not checked just now."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from registry.artifacts.commit import Committed
from registry.artifacts.fetch import dereference, fetch, find_manifest, read_manifest
from registry.artifacts.store import Store, open_store
from registry.artifacts.store.local import LocalStore
from registry.artifacts.store.memory import MemoryStore
from registry.errors import BadData, Corrupt, NotFound, StoreUnwritable
from tests.races import race_threads
from tests.registry.makers import FILES, a_recipe, commit_one


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def read(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def damage(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_store_in_a_folder_is_read_in_place(local: LocalStore, tmp_path: Path):
    done = commit_one(local)
    folder = fetch(local, done.reference, tmp_path / "cache")
    assert read(folder) == FILES
    assert tmp_path / "store" in folder.parents
    assert not (tmp_path / "cache").exists()


def test_another_store_is_copied_once_per_content(tmp_path: Path):
    store = MemoryStore()
    one = commit_one(store)
    other = commit_one(store, a_recipe(name="trains"))
    folders = {fetch(store, done.reference, tmp_path / "cache") for done in (one, other)}
    assert [read(folder) for folder in folders] == [FILES]


def test_an_s3_store_is_copied(s3_url: str, tmp_path: Path):
    store = open_store(s3_url)
    done = commit_one(store)
    assert read(fetch(store, done.reference, tmp_path / "cache")) == FILES


@pytest.mark.parametrize(
    "data",
    [FILES["model.txt"][:-1], b"", b"X" + FILES["model.txt"][1:], FILES["model.txt"] + b"\0"],
    ids=["truncated", "empty", "flipped", "longer"],
)
def test_damage_in_a_folder_is_found(local: LocalStore, tmp_path: Path, data: bytes):
    done = commit_one(local)
    damage(tmp_path / "store" / done.manifest.data / "model.txt", data)
    with pytest.raises(Corrupt, match=r"model\.txt is damaged") as caught:
        fetch(local, done.reference, tmp_path / "cache")
    assert "retract" in caught.value.todo


def test_a_missing_file_is_found(local: LocalStore, tmp_path: Path):
    done = commit_one(local)
    (tmp_path / "store" / done.manifest.data / "model.txt").unlink()
    with pytest.raises(Corrupt, match="it is missing"):
        fetch(local, done.reference, tmp_path / "cache")


class Damaged(MemoryStore):
    """Memory whose objects can be damaged."""

    def put(self, key: str, data: bytes) -> None:
        self._objects[key] = data

    def lose(self, key: str) -> None:
        del self._objects[key]


def test_damage_on_the_way_to_the_cache_is_found_and_not_kept(tmp_path: Path):
    store = Damaged()
    done = commit_one(store)
    good = store.get(done.manifest.data + "model.txt")
    store.put(done.manifest.data + "model.txt", b"X" + good[1:])
    with pytest.raises(Corrupt, match=r"model\.txt is damaged"):
        fetch(store, done.reference, tmp_path / "cache")
    store.put(done.manifest.data + "model.txt", good)
    assert read(fetch(store, done.reference, tmp_path / "cache")) == FILES
    store.lose(done.manifest.data + "model.txt")
    assert read(fetch(store, done.reference, tmp_path / "cache")) == FILES  # From the cache.
    with pytest.raises(NotFound, match=r"model\.txt"):
        fetch(store, done.reference, tmp_path / "other")


@pytest.mark.parametrize("harm", ["flip", "lose", "lose all"])
def test_a_damaged_copy_is_made_anew(tmp_path: Path, harm: str):
    store = MemoryStore()
    done = commit_one(store)
    folder = fetch(store, done.reference, tmp_path / "cache")
    if harm == "flip":
        damage(folder / "model.txt", b"X" + FILES["model.txt"][1:])
    else:
        (folder / "model.txt").unlink()
    if harm == "lose all":
        (folder / "nested" / "signature.json").unlink()
        (folder / "nested").rmdir()
    assert read(fetch(store, done.reference, tmp_path / "cache")) == FILES


def test_many_may_fetch_into_one_cache(tmp_path: Path):
    store = MemoryStore()
    done = commit_one(store, files={f"part-{n}": b"%d" % n * 50_000 for n in range(8)})
    folders = race_threads(6, lambda _: fetch(store, done.reference, tmp_path / "cache"))
    assert len(set(folders)) == 1
    assert len(read(folders[0])) == 8


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path):
    store = MemoryStore()
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(StoreUnwritable, match="cache"):
        fetch(store, commit_one(store).reference, tmp_path / "cache")


def changed(done: Committed, **changes: str) -> Committed:
    """The same reference with other promises."""
    manifest = msgspec.structs.replace(done.manifest, **changes)
    return Committed(manifest, done.path, done.mine)


@pytest.mark.parametrize("field", ["content", "version", "key"])
def test_a_reference_holds_the_store_to_its_word(local: LocalStore, tmp_path: Path, field: str):
    done = commit_one(local)
    wrong = changed(done, **{field: "0" * 64}).reference
    with pytest.raises(Corrupt, match=done.path):
        fetch(local, wrong, tmp_path / "cache")


def test_a_reference_to_nothing_is_not_found(local: LocalStore, tmp_path: Path):
    reference = commit_one(MemoryStore()).reference
    with pytest.raises(NotFound, match=reference.path):
        fetch(local, reference, tmp_path / "cache")


def test_manifests_are_found_by_recipe(local: LocalStore):
    done = commit_one(local)
    assert find_manifest(local, a_recipe()) == done.manifest == dereference(local, done.reference)
    assert find_manifest(local, a_recipe(epoch=1)) is None
    with pytest.raises(NotFound):
        read_manifest(local, "manifests/nothing.json")


def test_a_damaged_manifest_is_not_taken_for_a_missing_one(local: LocalStore, tmp_path: Path):
    done = commit_one(local)
    damage(tmp_path / "store" / done.path, b"{}")
    with pytest.raises(BadData, match=done.path):
        find_manifest(local, a_recipe())


def test_a_store_may_lie_anywhere(weird_tmp_path: Path):
    store: Store = open_store(str(weird_tmp_path / "store"))
    done = commit_one(store)
    assert read(fetch(store, done.reference, weird_tmp_path / "cache")) == FILES
