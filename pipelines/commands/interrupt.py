"""What Ctrl-C does to a run: the pipeline ends, its jobs go on; pressed again, they are stopped.

A job may be the last hour of a long training, so nothing is ended by one key. SIGTERM, which a
scheduler or a shutdown sends, ends the pipeline at once and leaves the jobs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from registry.command import Console

if TYPE_CHECKING:
    from pipelines.run import Result
    from pipelines.session import Session
    from pipelines.task import StepTask

#: Seconds in which a second Ctrl-C stops the jobs.
PATIENCE = 3.0


def run_interruptibly(
    session: Session, roots: Sequence[StepTask], console: Console, again: str
) -> Result:
    """`pipelines.run.run`; `again` is the command that goes on after an interruption.

    Raises:
        KeyboardInterrupt: after telling what becomes of the jobs.
    """
    from pipelines.run import run

    try:
        return run(session, roots)
    except KeyboardInterrupt:
        console.note(f"Jobs that run go on, and `{again}` finds them again.")
        if session.began:
            _offer_stop(session, console)
        raise


def _offer_stop(session: Session, console: Console) -> None:
    """Wait for a second Ctrl-C where somebody can press it."""
    if not _somebody_watches():
        console.note(f"`penstock stop {session.run}` stops them.")
        return
    console.note(f"Ctrl-C within {PATIENCE:.0f} s, or `penstock stop {session.run}`, stops them.")
    try:
        time.sleep(PATIENCE)
    except KeyboardInterrupt:
        from pipelines.stop import stop_run

        stopped = stop_run(session.store, session.runner, session.run, why="Ctrl-C, twice")
        console.note(f"stopped: {len(stopped)}")


def _somebody_watches() -> bool:
    return sys.stderr.isatty()
