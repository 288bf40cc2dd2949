"""Who trains on which card of this machine: the locks themselves are the books.

A file for each card, below a folder that all jobs of the machine share. Whoever holds its `flock`
has the card; the kernel lets the lock go when the holder ends, however it ends. Free memory cannot
be the book: it falls only when a training has begun, and two that start together see the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from registry.errors import ConfigError

#: Everybody's: jobs of several users share the cards.
_FOLDER_MODE, _FILE_MODE = 0o1777, 0o666


class Ledger:
    """The locks below `folder`, which must be the same for all jobs of the machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, uuid: str, what: str) -> int | None:
        """A descriptor that holds the card for as long as it is open; None where another does.

        Args:
            what: how people read who holds it.

        Raises:
            ConfigError: the folder cannot be written.
        """
        with self._explained(), self._guard():
            file = self._open(f"{uuid}.lock")
            if not _lock(file):
                os.close(file)
                return None
            os.ftruncate(file, 0)
            os.pwrite(file, json.dumps(_record(what)).encode(), 0)
            return file

    def holder(self, uuid: str) -> str | None:
        """Who holds a card, in words; None when nobody does.

        Raises:
            ConfigError: the folder cannot be written.
        """
        with self._explained(), self._guard():
            file = self._open(f"{uuid}.lock")
            try:
                # Within the guard, so that nobody who starts takes this look for a holder.
                return None if _lock(file) else _read(file)
            finally:
                os.close(file)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Be the only one who takes or looks; it takes microseconds."""
        file = self._open("guard")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            # Explicitly, since a child being forked by another thread may hold a copy of `file`.
            fcntl.flock(file, fcntl.LOCK_UN)
            os.close(file)

    def _open(self, name: str) -> int:
        """Open a file, made where it is missing.

        Not by O_CREAT alone: in a folder for everybody Linux refuses that for another user's file.
        """
        path, how = self._folder / name, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, how)
        self._make_folder()
        try:
            file = os.open(path, how | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        except FileExistsError:  # another was faster
            return os.open(path, how)
        os.fchmod(file, _FILE_MODE)
        return file

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(parents=True)
            self._folder.chmod(_FOLDER_MODE)
        except FileExistsError:
            return

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigError(
                f"the GPU ledger {self._folder} cannot be used",
                error.strerror or str(error),
                "Set PENSTOCK_GPU_LEDGER to a folder of this machine that its jobs may write.",
            ) from error


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _record(what: str) -> dict[str, Any]:
    return {"what": what, "pid": os.getpid(), "since": time.time()}


def _read(file: int) -> str:
    try:
        found = json.loads(os.pread(file, 4096, 0))
        return f"{found['what']}, process {found['pid']}"
    except (ValueError, KeyError, TypeError):  # its holder has not written yet
        return "a process that has just begun"
