"""What Ctrl-C and SIGTERM do to a run: the one stops its jobs, the other leaves them.

Who presses Ctrl-C wants it to end, all of it; pressed again, it ends at once and leaves what is
left. A scheduler or a shutdown sends SIGTERM to the pipeline, whose next run finds the jobs that
went on. Nomad ends its tasks by SIGINT unless told otherwise, so below Nomad that means the same.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from registry.command import Console

if TYPE_CHECKING:
    from pipelines.run import Result
    from pipelines.session import Session
    from pipelines.task import StepTask

#: 128 + SIGTERM, as shells count.
TERMINATED = 143


class Terminated(BaseException):
    """SIGTERM has arrived."""


def run_interruptibly(
    session: Session, roots: Sequence[StepTask], console: Console, again: str
) -> Result:
    """`pipelines.run.run`; `again` is the command that goes on after an interruption.

    Raises:
        KeyboardInterrupt: after the jobs of the run were stopped, or left.
        SystemExit: SIGTERM; jobs go on.
    """
    from pipelines.run import run

    with _noticing_sigterm():
        try:
            return run(session, roots)
        except Terminated:
            _leave(session, console, again)
            raise SystemExit(TERMINATED) from None
        except KeyboardInterrupt:
            if os.environ.get("NOMAD_ALLOC_ID"):
                _leave(session, console, again)
            elif session.began:
                _stop(session, console, again)
            raise


def _leave(session: Session, console: Console, again: str) -> None:
    console.note(f"Jobs that run go on, and `{again}` finds them again.")
    if session.began:
        console.note(f"`penstock stop {session.run}` stops them.")


def _stop(session: Session, console: Console, again: str) -> None:
    """Stop the jobs of the run, unless Ctrl-C is pressed again."""
    from pipelines.stop import stop_own_run

    console.note("Stopping the jobs of this run; Ctrl-C again leaves them.")
    try:
        stopped = stop_own_run(
            session.store, session.runner, session.run, session.made, why="Ctrl-C"
        )
    except KeyboardInterrupt:
        _leave(session, console, again)
    else:
        console.note(f"stopped: {len(stopped)}. `{again}` goes on with what is missing.")


@contextmanager
def _noticing_sigterm() -> Iterator[None]:
    """Within the block, SIGTERM raises Terminated in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(*_: Any) -> NoReturn:
    raise Terminated
