"""The contract of a store, over every implementation and a real S3 server."""

from __future__ import annotations

import os
import threading
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from registry.artifacts.store import AlreadyExists, Store, objects, open_store
from registry.errors import ConfigError, NotFound, StoreError, UsageError
from tests.races import PATIENCE, race_processes, race_threads

WEIRD = (
    "a b", "é/ü", "日本", "k=v,x+y", "100%", "a%20b", "a#b", "a?b", "a&b", "~x", "a*b", "{x}",
    "a[1]", "x^y", "a|b", 'q"q', "it's", "<t>", "back\\slash", "a:b", "-dash", "...", "a..b",
)  # fmt: skip
REFUSED = (
    "", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", "./a", "a\0b", "a\nb", "\udcff",
)  # fmt: skip
ROUNDS, WRITERS = 30, 8


@pytest.fixture(params=["local", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return str(request.getfixturevalue("s3_url"))
    return str(tmp_path / "store") if request.param == "local" else f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def store(url: str) -> Store:
    # Below the place that was opened, where the probe of an S3 store lies.
    return open_store(url).under("suite")


def test_what_was_created_is_read_back(store: Store, tmp_path: Path):
    store.create("a/b.json", b"one")
    store.download("a/b.json", tmp_path / "copy")
    assert (store.get("a/b.json"), store.size("a/b.json")) == (b"one", 3)
    assert (tmp_path / "copy").read_bytes() == b"one"


def test_an_empty_object_is_an_object(store: Store, tmp_path: Path):
    store.create("empty", b"")
    store.download("empty", tmp_path / "copy")
    assert (store.get("empty"), store.size("empty"), list(store.list(""))) == (b"", 0, ["empty"])
    assert (tmp_path / "copy").read_bytes() == b""


def test_an_object_is_never_overwritten(store: Store, tmp_path: Path):
    file = tmp_path / "other"
    file.write_bytes(b"other")
    store.create("key", b"one")
    with pytest.raises(AlreadyExists):
        store.create("key", b"other")
    with pytest.raises(AlreadyExists):
        store.create_from("key", file)
    assert store.get("key") == b"one"


def test_a_deleted_object_is_gone_and_its_key_is_free(store: Store):
    for key in ("a/b", "a/c"):
        store.create(key, b"one")
    store.delete("a/b")
    store.delete("a/b")
    store.delete("a/never/was")
    store.delete("a/c/below")
    with pytest.raises(NotFound):
        store.get("a/b")
    assert list(store.list("")) == ["a/c"]
    store.create("a/b", b"two")
    assert store.get("a/b") == b"two"
    with pytest.raises(UsageError):
        store.delete("../a/b")


def test_a_file_becomes_an_object(store: Store, tmp_path: Path):
    file = tmp_path / "file"
    file.write_bytes(os.urandom(3 << 20))
    store.create_from("data/file", file)
    assert store.get("data/file") == file.read_bytes()


def test_what_is_not_there_is_not_found(store: Store, tmp_path: Path):
    store.create("folder/key", b"")
    for key in ("key", "folder", "folder/key/below"):
        with pytest.raises(NotFound, match=key):
            store.get(key)
        with pytest.raises(NotFound):
            store.size(key)
        with pytest.raises(NotFound):
            store.download(key, tmp_path / "copy")


def test_a_listing_is_sorted_and_of_whole_folders(store: Store):
    keys = ["a-1", "a.json", "a/b/c", "a/b.json", "a/b-2", "ab/c", "b", "A"]
    for key in keys:
        store.create(key, b"")
    assert list(store.list("")) == sorted(keys)
    assert list(store.list("a/")) == list(store.list("a")) == ["a/b-2", "a/b.json", "a/b/c"]
    assert list(store.list("nothing/here")) == list(store.list("a.json")) == []


def test_a_store_below_another_sees_its_own_part(store: Store):
    below = store.under("dev/me")
    below.create("x/key", b"mine")
    store.create("x/key", b"other")
    assert store.get("dev/me/x/key") == below.get("x/key") == b"mine"
    assert list(below.list("")) == list(below.list("x")) == ["x/key"]
    assert below.under("x").get("key") == b"mine"


def test_the_url_opens_the_same_place(store: Store):
    below = store.under("dev").under("me")
    below.create("key", b"mine")
    assert open_store(below.url).get("key") == b"mine"
    assert open_store(store.url).get("dev/me/key") == b"mine"


@pytest.mark.parametrize("key", REFUSED)
def test_keys_that_leave_the_store_are_refused(store: Store, key: str, tmp_path: Path):
    file = tmp_path / "file"
    file.write_bytes(b"x")
    with pytest.raises(UsageError):
        store.create(key, b"x")
    with pytest.raises(UsageError):
        store.create_from(key, file)
    with pytest.raises(UsageError):
        store.get(key)
    with pytest.raises(UsageError):
        store.size(key)
    with pytest.raises(UsageError):
        store.download(key, tmp_path / "copy")


def test_listings_and_parts_that_leave_the_store_are_refused(store: Store):
    for prefix in ("..", "../", "a/../..", "a/./b"):
        with pytest.raises(UsageError):
            list(store.list(prefix))
        with pytest.raises(UsageError):
            store.under(prefix)


def test_weird_keys_come_back_as_they_went_in(store: Store):
    for number, key in enumerate(WEIRD):
        store.create(f"weird/{key}", str(number).encode())
    for number, key in enumerate(WEIRD):
        assert store.get(f"weird/{key}") == str(number).encode(), key
    assert list(store.list("weird")) == sorted(f"weird/{key}" for key in WEIRD)


def test_one_of_racing_threads_wins(store: Store):
    for turn in range(ROUNDS):
        won = race_threads(WRITERS, partial(_try, store, turn))
        assert won.count(True) == 1
        assert store.get(_key(turn)) == _data(won.index(True))


@pytest.mark.parametrize("url", ["local", "s3"], indirect=True)
def test_one_of_racing_processes_wins(url: str):
    outcomes = race_processes(WRITERS, _race_for_all, url)
    store = open_store(url)
    for turn in range(ROUNDS):
        won = [outcome[turn] for outcome in outcomes]
        assert won.count(True) == 1
        assert store.get(_key(turn)) == _data(won.index(True))


def _race_for_all(number: int, barrier: Any, url: str) -> list[bool]:
    store = open_store(url)
    won = []
    for turn in range(ROUNDS):
        barrier.wait(PATIENCE)
        won.append(_try(store, turn, number))
    return won


def _try(store: Store, turn: int, number: int) -> bool:
    try:
        store.create(_key(turn), _data(number))
    except AlreadyExists:
        return False
    return True


def _key(turn: int) -> str:
    return f"race/{turn:03d}/manifest.json"


def _data(number: int) -> bytes:
    return b"%d" % number * 10_000


def test_no_reader_sees_a_part_of_an_object(store: Store, tmp_path: Path):
    file = tmp_path / "file"
    file.write_bytes(os.urandom(4 << 20))
    written = threading.Event()
    seen: set[int] = set()

    def write() -> None:
        for turn in range(4):
            store.create_from(f"big/{turn}", file)
        written.set()

    def read() -> None:
        done = False
        while not done:
            done = written.is_set()
            seen.update(store.size(key) for key in store.list("big"))

    race_threads(2, lambda number: [write, read][number]())
    assert seen == {4 << 20}
    assert all(store.get(f"big/{turn}") == file.read_bytes() for turn in range(4))


def test_a_vanished_source_is_a_store_error(store: Store, tmp_path: Path):
    with pytest.raises((StoreError, FileNotFoundError)):
        store.create_from("key", tmp_path / "nothing")
    assert list(store.list("")) == []


def test_a_large_file_goes_to_s3_in_parts(
    s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(objects, "MULTIPART_BYTES", 1 << 20)
    file = tmp_path / "file"
    file.write_bytes(os.urandom((12 << 20) + 5))
    store = open_store(s3_url)
    store.create_from("large", file)
    store.download("large", tmp_path / "copy")
    assert store.size("large") == file.stat().st_size
    assert (tmp_path / "copy").read_bytes() == file.read_bytes()


def test_an_unknown_kind_of_store_is_named():
    with pytest.raises(ConfigError, match="ftp"):
        open_store("ftp://host/path")
    with pytest.raises(ConfigError, match="no bucket"):
        open_store("s3://")
