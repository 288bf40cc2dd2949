"""Standing back: threads whose work can wait leave the processor to those that answer requests.

Priorities belong to a thread, and what is given up cannot be taken back without privileges.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

#: Starved is who waited so many seconds for a core, and longer than it had one.
PATIENCE = 1.0
_NICEST = 19


def stand_back(nice: int, *, idle: bool) -> None:
    """Make the calling thread `nice` on top of what it is; with `idle`, to run only on idle cores.

    Linux lets every other thread interrupt one that is idle (SCHED_IDLE) at once; one that is merely
    nice finishes its turn of some milliseconds first.
    """
    thread = threading.get_native_id()
    current = os.getpriority(os.PRIO_PROCESS, thread)
    os.setpriority(os.PRIO_PROCESS, thread, min(_NICEST, current + nice))
    if idle and can_starve(thread):
        os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))


def leave_quietly() -> None:
    """For a process that is about to end: giving its memory back takes the kernel milliseconds."""
    os.nice(_NICEST)


def can_starve(thread: int) -> bool:
    """Whether this machine tells for how long a thread waits, so that `is_starved` can say it."""
    return _times(thread) is not None


def is_starved(thread: int) -> bool:
    """Whether a thread of this process gets so little of a core that standing back is too much."""
    ran, waited = _times(thread) or (0.0, 0.0)
    return waited > max(PATIENCE, ran)


def _times(thread: int) -> tuple[float, float] | None:
    """Seconds that a thread ran, and that it could have but had no core (Linux' sched-stats.rst)."""
    try:
        fields = Path(f"/proc/self/task/{thread}/schedstat").read_text().split()
        return int(fields[0]) / 1e9, int(fields[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return None
