"""A full or read-only store: a clear error, nothing committed, nothing lost."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.artifacts.commit import commit
from registry.artifacts.fetch import fetch, find_manifest
from registry.artifacts.store.local import LocalStore
from registry.errors import StoreError, StoreUnwritable
from tests.races import processes
from tests.registry.makers import a_producer, a_recipe, an_attempt, an_output, commit_one

NOBODY = 65534


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 kB; needs the right to mount one."""
    folder = tmp_path / "tmpfs"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, check=False).returncode:
        pytest.skip("may not mount a tmpfs here; the file size limit below covers the error")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_store_refuses_and_keeps_what_it_has(tmpfs: Path, tmp_path: Path):
    store = LocalStore(tmpfs / "store")
    done = commit_one(store)
    attempt = an_attempt(store, a_recipe(name="trains"))
    output = an_output(tmp_path / "out", {"model.txt": os.urandom(400_000)})
    with pytest.raises(StoreUnwritable, match="No space left") as caught:
        commit(store, attempt, output, a_producer(attempt))
    assert "free space" in caught.value.todo
    assert find_manifest(store, a_recipe(name="trains")) is None
    fetch(store, done.reference, tmp_path / "cache")
    assert list((tmpfs / "store" / ".incoming").iterdir()) == []
    assert commit_one(store, a_recipe(name="trains")).mine  # There is room for a smaller one.


def test_a_store_remounted_read_only_is_read_and_not_written(tmpfs: Path, tmp_path: Path):
    store = LocalStore(tmpfs / "store")
    done = commit_one(store)
    remounted = ["mount", "-o", "remount,ro", str(tmpfs)]
    if subprocess.run(remounted, check=False).returncode:
        pytest.skip("may not remount here")
    with pytest.raises(StoreUnwritable, match="Read-only file system"):
        commit_one(store, a_recipe(name="trains"))
    fetch(store, done.reference, tmp_path / "cache")
    assert find_manifest(store, a_recipe()) == done.manifest


@pytest.fixture
def small_files() -> Iterator[None]:
    """The kernel lets this process write files of 64 kB at most (EFBIG above)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_the_kernel_cuts_short_is_no_object(
    tmp_path: Path, request: pytest.FixtureRequest
):
    store = LocalStore(tmp_path / "store")
    attempt = an_attempt(store)
    output = an_output(tmp_path / "out", {"model.txt": os.urandom(100_000)})
    request.getfixturevalue("small_files")
    with pytest.raises(StoreUnwritable, match="File too large"):
        commit(store, attempt, output, a_producer(attempt))
    with pytest.raises(StoreUnwritable, match="File too large"):
        store.create("key", bytes(100_000))
    assert list(store.list("data/")) == list(store.list("manifests/")) == []
    assert list((tmp_path / "store" / ".incoming").iterdir()) == []


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that users other than root can reach (pytest's own cannot be)."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody(folder: Path, act: Any) -> Any:
    """What `act(store)` returns or raises, as a user who owns nothing there."""
    context = processes()
    results = context.SimpleQueue()
    child = context.Process(target=_without_rights, args=(str(folder), act, results))
    child.start()
    found = results.get()
    child.join()
    return found


def _without_rights(folder: str, act: Any, results: Any) -> None:
    store = LocalStore(Path(folder))
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    try:
        results.put(act(store))
    except StoreError as error:
        results.put((error.exit_code, str(error)))


def _create(store: LocalStore) -> None:
    store.create("new/key", b"x")


def _read(store: LocalStore) -> tuple[bytes, list[str]]:
    return store.get("folder/key"), list(store.list(""))


def test_a_store_of_somebody_else_is_read_and_not_written(open_folder: Path):
    LocalStore(open_folder).create("folder/key", b"x")
    if os.getuid():
        open_folder.chmod(0o555)
    code, text = as_nobody(open_folder, _create)
    open_folder.chmod(0o755)
    assert code == StoreUnwritable.exit_code
    assert "Permission denied" in text
    assert str(open_folder) in text
    assert as_nobody(open_folder, _read) == (b"x", ["folder/key"])


def test_a_folder_that_cannot_be_read_does_not_pass_for_an_empty_one(open_folder: Path):
    LocalStore(open_folder).create("folder/key", b"x")
    (open_folder / "folder").chmod(0)
    found = as_nobody(open_folder, _list)
    assert found == (StoreError.exit_code, f"{open_folder} could not be read: Permission denied")
    code, text = as_nobody(open_folder, _get)
    (open_folder / "folder").chmod(0o755)
    assert code == StoreError.exit_code
    assert "folder/key could not be read" in text
    assert "Permission denied" in text


def _list(store: LocalStore) -> list[str]:
    return list(store.list(""))


def _get(store: LocalStore) -> bytes:
    return store.get("folder/key")


def test_a_name_that_the_file_system_cannot_hold_is_a_store_error(tmp_path: Path):
    with pytest.raises(StoreError, match="File name too long"):
        LocalStore(tmp_path).create("x" * 300, b"")


def test_a_file_where_a_folder_should_be_is_a_store_error(tmp_path: Path):
    store = LocalStore(tmp_path)
    store.create("taken", b"")
    with pytest.raises(StoreError, match="taken/below"):
        store.create("taken/below", b"")


def test_objects_are_read_only_files_and_nothing_temporary_stays(tmp_path: Path):
    store = LocalStore(tmp_path)
    store.create("a/key", b"x")
    with pytest.raises(StoreError):
        store.create("a/key", b"y")
    assert (tmp_path / "a" / "key").stat().st_mode & 0o777 == 0o444
    assert list((tmp_path / ".incoming").iterdir()) == []
