"""What processes of this machine left behind: job folders, scratch stores, half-written objects."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipelines.runners.folder import LOCKS
from pipelines.runners.shim import JOB, lock_is_held
from registry.artifacts.store import open_store
from registry.artifacts.store.local import TEMPORARY, LocalStore
from registry.settings import Settings


def leftovers(settings: Settings, now: float) -> list[Path]:
    """Folders and files that nobody has touched for as long as a collection waits."""
    var, before = Path(settings.var).absolute(), now - settings.gc_delay
    found = [folder for folder in _below(var / "jobs") if _is_over(folder, now)]
    found += _below(var / "scratch")
    store = open_store(settings.store)
    if isinstance(store, LocalStore):
        found += _below(Path(store.url) / TEMPORARY)
    return [path for path in found if _touched(path) < before]


def remove(paths: list[Path]) -> None:
    """Delete them; one that is gone meanwhile is no error."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _below(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.iterdir()) if folder.is_dir() else ()


def _is_over(folder: Path, now: float) -> bool:
    """Whether the job of a folder has ended for good: no lock is held, and it may not commit."""
    if folder.name == LOCKS or lock_is_held(str(folder.parent / LOCKS / f"{folder.name}.lock")):
        return False
    try:
        deadline = json.loads((folder / JOB).read_bytes())["deadline"]
    except (FileNotFoundError, NotADirectoryError):
        return folder.is_dir()  # It was stopped before it began.
    except (ValueError, KeyError):
        return False
    return float(deadline) < now


def _touched(path: Path) -> float:
    """When it, or anything in it, was last written, in Unix seconds."""
    try:
        return max(each.lstat().st_mtime for each in (path, *path.rglob("*")))
    except FileNotFoundError:
        return float("inf")
