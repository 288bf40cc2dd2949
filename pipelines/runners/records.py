"""Files of a job's folder that runner and shim share, written whole or not at all.

Standard library only, and `os.path` rather than `pathlib`, since every shim loads this module.
"""
# ruff: noqa: PTH105, PTH118, PTH123

from __future__ import annotations

import fcntl
import json
import os
from typing import Any

#: The runner writes `job.json` and `stop.json`, the shim the others; the job prints into the log.
JOB, STARTED, STOP, EXIT, LOG = "job.json", "started.json", "stop.json", "exit.json", "log"


def read_record(folder: str, name: str) -> dict[str, Any]:
    """The JSON object in a file of the folder."""
    with open(os.path.join(folder, name), "rb") as file:
        record: dict[str, Any] = json.load(file)
    return record


def write_record(folder: str, name: str, record: dict[str, Any], keep_locked: bool = False) -> int:
    """Write a JSON object so that it survives a power cut.

    Returns:
        A descriptor of the file, whose `flock` is held, when `keep_locked`; otherwise -1.
    """
    path = os.path.join(folder, name)
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "wb") as file:
        if keep_locked:
            fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(record).encode())
        file.flush()
        os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(folder)
        return os.dup(file.fileno()) if keep_locked else -1


def sync_folder(folder: str) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock_is_held(path: str) -> bool:
    """Whether a process holds the exclusive `flock` of the file at `path`.

    Asks for a shared lock, so that those who ask never take each other for the holder.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def birth(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None where the system does not say.

    Process id and birth together name one process, even after the id was given away again.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
