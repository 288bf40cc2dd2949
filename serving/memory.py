"""How much memory there is: for this control group, for this machine, and what processes use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

#: From here on a limit of version 1 stands for "none": it is the largest number of whole pages.
_NO_LIMIT = 1 << 60


class Room(NamedTuple):
    """Bytes that are free, of how many, and who sets the limit."""

    free: int
    limit: int
    source: str


def rooms(root: Path = Path("/")) -> Iterator[Room]:
    """What the control group (version 1 or 2) and the machine leave; nothing where neither says."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _walk(root / "sys/fs/cgroup", path, _room_v2)
        elif "memory" in controllers.split(","):
            yield from _walk(root / "sys/fs/cgroup/memory", path, _room_v1)
    meminfo = _fields(_read(root / "proc/meminfo"))
    if "MemAvailable:" in meminfo:
        total = meminfo.get("MemTotal:", 0) * 1024
        yield Room(meminfo["MemAvailable:"] * 1024, total, "this machine")


def _walk(mount: Path, path: str, room: Callable[[Path], Room | None]) -> Iterator[Room]:
    """The limits of a group and of all groups above it. Inside a container its own is the root."""
    group = mount / path.strip("/")
    while True:
        found = room(group)
        if found is not None:
            yield found
        if group == mount:
            return
        group = group.parent


def _room_v2(group: Path) -> Room | None:
    limit = _read(group / "memory.max").strip()
    if not limit.isdigit():
        return None
    return _room(int(limit), _read(group / "memory.current"), group, "inactive_file")


def _room_v1(group: Path) -> Room | None:
    limit = _read(group / "memory.limit_in_bytes").strip()
    if not limit.isdigit() or int(limit) >= _NO_LIMIT:
        return None
    return _room(int(limit), _read(group / "memory.usage_in_bytes"), group, "total_inactive_file")


def _room(limit: int, used: str, group: Path, cache: str) -> Room:
    """Pages of files that nobody looked at lately are given up before anybody is ended."""
    reclaimable = _fields(_read(group / "memory.stat")).get(cache, 0)
    return Room(limit - int(used or 0) + reclaimable, limit, "the control group")


def used_by(pids: Iterable[int], root: Path = Path("/")) -> int:
    """Bytes that processes use, what they share with others counted in proportion."""
    rollups = (_read(root / f"proc/{pid}/smaps_rollup") for pid in pids)
    return sum(_fields(rollup).get("Pss:", 0) * 1024 for rollup in rollups)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _fields(text: str) -> dict[str, int]:
    words = (line.split() for line in text.splitlines())
    return {w[0]: int(w[1]) for w in words if len(w) > 1 and w[1].isdigit()}
