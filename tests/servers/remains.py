"""What agents leave behind: processes of tasks, mounts. Found by their folder, and ended.

Linux only: elsewhere there is nothing to read, and nothing is mounted.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path


def lives(pid: int) -> bool:
    """Whether the process runs; one that ended and that nobody has asked about yet does not."""
    try:
        # The state follows the name, which stands in brackets and may hold anything.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def reap(mark: str, grace: float = 2) -> list[int]:
    """End every process whose environment carries `mark`, and return their ids.

    Tasks of a Nomad agent outlive it, and are nobody's children then. The agent's environment, and
    so theirs, names the folder that it belongs to.
    """
    asked: set[int] = set()
    deadline = time.monotonic() + grace
    while left := _marked(mark.encode()):
        late = time.monotonic() > deadline
        if time.monotonic() > deadline + 60:
            raise TimeoutError(f"processes {sorted(left)} cannot be ended")
        for pid in left if late else left - asked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        asked |= left
        time.sleep(0.05)
    return sorted(asked)


def _marked(mark: bytes) -> set[int]:
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # gone, or somebody else's
            continue
        if mark in variables:
            found.add(int(folder.name))
    return found


def unmount(folder: Path) -> None:
    """Unmount what is mounted below `folder`, the innermost first.

    Nomad, where it may, keeps the secrets of tasks in memory. An agent that was killed leaves that
    mounted, and a folder that nobody can remove.
    """
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except FileNotFoundError:  # not Linux, where agents mount nothing
        return
    points = [line.split()[1].encode().decode("unicode_escape") for line in lines]
    for point in sorted(points, key=len, reverse=True):
        if Path(point).is_relative_to(folder):
            subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)
