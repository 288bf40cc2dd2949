"""Which jobs of this machine hold how much: the locks themselves are the books.

A counter goes stale when its owner dies; a lock is let go by the kernel. One lock file per job
says what the job takes, and counts for as long as a process holds it. One guard lock makes
"look, then take" a single step for all pipelines that share the folder.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.runners.folder import LOCKS
from pipelines.runners.shim import lock_is_held
from pipelines.runners.sizes import Capacity, Size


class Ledger:
    """The locks below `jobs/locks`; everything but `guard` is called within it."""

    def __init__(self, jobs: Path) -> None:
        self._locks = jobs / LOCKS

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Be the only one, among all threads and processes, who starts jobs here."""
        self._locks.mkdir(parents=True, exist_ok=True)
        file = os.open(self._locks / "guard", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            # Explicitly, since a child being forked by another thread may hold a copy of `file`.
            fcntl.flock(file, fcntl.LOCK_UN)
            os.close(file)

    def used(self) -> Capacity:
        """What the jobs of this machine take now; forgets the locks of those that ended."""
        total = Capacity(0, 0)
        for path in self._locks.glob("*.lock"):
            if lock_is_held(str(path)):
                taken = json.loads(path.read_bytes())
                total = Capacity(total.cpus + taken["cpus"], total.memory_mb + taken["memory_mb"])
            else:
                path.unlink(missing_ok=True)
        return total

    def take(self, path: Path, size: Size) -> int:
        """Hold the lock file of a job; returns the descriptor, which shim and job inherit."""
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.ftruncate(lock, 0)
            os.write(lock, json.dumps({"cpus": size.cpus, "memory_mb": size.memory_mb}).encode())
        except OSError:  # a full disk: nobody may hold a lock that does not say how much it takes
            os.close(lock)
            raise
        return lock
