"""Heads in files of this machine, for a laptop: one small file for each alias."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.aliases.heads.protocol import Head
from registry.artifacts.records import decode_record, encode_record
from registry.errors import BadData, StoreUnwritable, Temporary

#: Seconds between two looks at a file while waiting. A look is one stat(2).
POLL = 0.1


class FileHeads:
    """Heads below a folder; see `Heads` for the methods."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, model: str, alias: str) -> Head | None:
        path = self._path(model, alias)
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Temporary(f"the head {path} cannot be read", str(error.strerror)) from error
        head = decode_record(data, Head, str(path), "head")
        if (head.model, head.alias) != (model, alias):
            raise BadData(
                f"{path} is not the head of its name",
                f"it is that of {head.model}@{head.alias}",
                "Remove it; the next command that reads the alias writes it anew.",
            )
        return head

    def advance(self, head: Head) -> Head:
        path = self._path(head.model, head.alias)
        # Heads rise only, so one that is high enough needs no lock, nor the right to write.
        standing = self._readable(head.model, head.alias)
        if standing is not None and standing.revision >= head.revision:
            return standing
        with _writing(path), _locked(path):
            standing = self._readable(head.model, head.alias)
            if standing is not None and standing.revision >= head.revision:
                return standing
            _replace(path, encode_record(head))
        return head

    def wait(self, model: str, alias: str, revision: int, timeout: float) -> Head | None:
        deadline = time.monotonic() + timeout
        seen: object = None
        while True:
            mark = _mark(self._path(model, alias))
            if mark != seen:
                seen = mark
                head = self.read(model, alias)
                if head is not None and head.revision != revision:
                    return head
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            time.sleep(min(POLL, left))

    def _readable(self, model: str, alias: str) -> Head | None:
        try:
            return self.read(model, alias)
        except BadData:
            return None

    def _path(self, model: str, alias: str) -> Path:
        return self._folder / model / f"{alias}.json"


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_mtime_ns


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of one head; the kernel frees it when the holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnwritable(
            f"the head {path} could not be written",
            os.strerror(error.errno or 0),
            "Check the permissions and the free space of PENSTOCK_VAR. The decision itself is in "
            "the log; the next command moves the head.",
        ) from error


def _replace(path: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".head-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)  # The service may run as another user.
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
