"""Files of the request log: each appears whole, and all of them keep to a budget of bytes."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
import socket
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from registry.logs import get_logger
from registry.requestlog import log_files

log = get_logger(__name__)


class LogFiles:
    """The files below `folder`, of at most `budget` bytes together: the oldest make room."""

    def __init__(self, folder: Path, budget: int) -> None:
        self.folder = folder
        self._budget = budget
        self._numbers = itertools.count(1)
        host = re.sub(r"[^\w.-]", "-", socket.gethostname(), flags=re.ASCII) or "host"
        self._writer = f"{host}-{os.getpid()}"

    def write(self, model: str, version: str, table: pa.Table) -> Path:
        """Write one file: under a name that begins with a dot, then, when it is safe, its own.

        Raises:
            OSError: the disk is full, or the folder may not be written.
        """
        home = self.folder / model / version
        home.mkdir(parents=True, exist_ok=True)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        final = home / f"{stamp}-{self._writer}-{next(self._numbers):06d}.parquet"
        partial = final.with_name(f".{final.name}")
        try:
            with partial.open("xb") as file:
                # Held as long as the file is written: nobody takes it for left behind.
                fcntl.flock(file, fcntl.LOCK_EX)
                pq.write_table(table, file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())
                os.rename(partial, final)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _sync(home)
        return final

    def sweep(self) -> None:
        """Remove what killed writers left: files under way whose lock nobody holds."""
        for partial in self.folder.rglob(".*.parquet"):
            with contextlib.suppress(OSError), partial.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                partial.unlink()

    def keep_to_budget(self) -> int:
        """Delete the oldest files until the rest is within the budget; how many went."""
        sized = [(path, path.stat().st_size) for path in log_files(self.folder)]
        total, gone = sum(size for _, size in sized), 0
        for path, size in sized:
            if total <= self._budget:
                break
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                path.parent.rmdir()  # if it was the last one there
            total, gone = total - size, gone + 1
        if gone:
            log.info("request log made room", files=gone)
        return gone


def _sync(folder: Path) -> None:
    """Make the names in a folder as safe as what they name."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
