"""A store in a folder of this machine.

An object is written to a temporary file, synced, and given its name with link(2), which fails if
the name is taken; then the folder is synced. (An object library's local `create` syncs nothing.)
Objects are read-only files: an edit by hand has to be meant.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.artifacts.store.protocol import AlreadyExists, Store, check_object_key, check_prefix
from registry.crashpoints import crashpoint
from registry.errors import NotFound, StoreError, StoreUnwritable

#: Where objects are written before they get their names, below the root that was opened.
TEMPORARY = ".incoming"
_UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class LocalStore:
    """A folder as a store; see `Store` for the methods."""

    def __init__(self, root: Path, temporary: Path | None = None) -> None:
        self._root = root
        self._temporary = temporary or root / TEMPORARY

    @property
    def url(self) -> str:
        return str(self._root)

    def under(self, prefix: str) -> Store:
        return LocalStore(self._root / check_object_key(prefix.strip("/")), self._temporary)

    def create(self, key: str, data: bytes) -> None:
        self._create(key, lambda descriptor: _write_all(descriptor, data))

    def create_from(self, key: str, path: Path) -> None:
        self._create(key, lambda descriptor: _copy(path, descriptor))

    def get(self, key: str) -> bytes:
        with _reading(key):
            return self._path(key).read_bytes()

    def get_range(self, key: str, start: int, end: int) -> bytes:
        with _reading(key), self._path(key).open("rb") as source:
            source.seek(start)
            return source.read(end - start)

    def download(self, key: str, path: Path) -> None:
        with _reading(key):
            shutil.copyfile(self._path(key), path)

    def size(self, key: str) -> int:
        with _reading(key), self._path(key).open("rb") as file:  # Opening fails on a folder.
            return os.fstat(file.fileno()).st_size

    def list(self, prefix: str) -> Iterator[str]:
        with _reading(prefix or self.url):
            found = sorted(_walk(self._root, check_prefix(prefix)))
        yield from found

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _writing(self._root, key):
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                return
            _sync_folder(path.parent)

    def local_path(self, key: str) -> Path | None:
        return self._path(key)

    def _path(self, key: str) -> Path:
        return self._root / check_object_key(key)

    def _create(self, key: str, fill: Callable[[int], None]) -> None:
        target = self._path(key)
        with _writing(self._root, key):
            if target.exists():
                raise _already_exists(target, key)
            _make_folder(target.parent)
            _make_folder(self._temporary)
            self._link(target, fill, key)

    def _link(self, target: Path, fill: Callable[[int], None], key: str) -> None:
        descriptor, name = tempfile.mkstemp(dir=self._temporary)
        try:
            fill(descriptor)
            os.fchmod(descriptor, 0o444)
            os.fsync(descriptor)
            crashpoint("store.before_link")
            os.link(name, target)
            _sync_folder(target.parent)
            crashpoint("store.after_link")
        except FileExistsError:
            raise _already_exists(target, key) from None
        finally:
            os.close(descriptor)
            os.unlink(name)


def _already_exists(target: Path, key: str) -> AlreadyExists:
    """The error, once the name is durable: the winner may have died before it synced the folder."""
    _sync_folder(target.parent)
    return AlreadyExists(f"{key} exists already")


def _walk(root: Path, below: str) -> Iterator[str]:
    for folder, folders, names in os.walk(root / below, onerror=_unless_absent):
        folders[:] = [name for name in folders if name != TEMPORARY]
        relative = os.path.relpath(folder, root)
        for name in names:
            yield name if relative == "." else f"{relative}/{name}"


def _unless_absent(error: OSError) -> None:
    """A folder that cannot be read must not pass for an empty one: what exists decides what runs."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _copy(path: Path, descriptor: int) -> None:
    with path.open("rb") as source, open(descriptor, "wb", closefd=False) as target:
        shutil.copyfileobj(source, target, 1 << 20)


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _reading(key: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise NotFound(f"{key} is not in the store") from None
    except OSError as error:
        raise StoreError(f"{key} could not be read", os.strerror(error.errno or 0)) from error


@contextmanager
def _writing(root: Path, key: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = StoreUnwritable if error.errno in _UNWRITABLE else StoreError
        raise kind(
            f"{key} could not be written to the store {root}",
            os.strerror(error.errno or 0),
            "Check the permissions and the free space of that folder, then run again; "
            "what was committed before is untouched.",
        ) from error
