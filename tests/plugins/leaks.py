"""Opt-in checks that a test leaves nothing open: `@pytest.mark.usefixtures("no_fd_leaks")`.

Each compares before and after, and gives what is being closed a moment to go.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SHARED_MEMORY = Path("/dev/shm")


def open_descriptors() -> set[str]:
    """Each open descriptor with what it points at, such as `7 -> socket:[4711]`."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{link.name} -> {link.readlink()}")
        except OSError:  # the descriptor of the listing itself
            continue
    return found


def _threads() -> set[str]:
    return {f"{thread.name} ({thread.ident})" for thread in threading.enumerate()}


def _shared_memory() -> set[str]:
    return {path.name for path in SHARED_MEMORY.iterdir()} if SHARED_MEMORY.is_dir() else set()


def unchanged(what: str, now: Callable[[], set[str]], patience: float = 30) -> Iterator[None]:
    """Yield once; then fail the test if `now()` holds more than before, `patience` seconds on."""
    gc.collect()
    before = now()
    yield
    deadline = time.monotonic() + patience
    left = now() - before
    while left and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.02)
        left = now() - before
    if left:
        pytest.fail(f"{what} left behind: {sorted(left)}", pytrace=False)


def _needs_proc() -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc")


@pytest.fixture
def no_fd_leaks() -> Iterator[None]:
    """Fail the test if it leaves a file, socket or memfd open in this process."""
    _needs_proc()
    yield from unchanged("descriptors", open_descriptors)


@pytest.fixture
def no_thread_leaks() -> Iterator[None]:
    """Fail the test if a thread that it started still runs."""
    yield from unchanged("threads", _threads)


@pytest.fixture
def no_shm_leaks() -> Iterator[None]:
    """Fail the test if named shared memory stays behind (other processes' included)."""
    yield from unchanged("shared memory", _shared_memory)
