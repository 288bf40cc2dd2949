"""Find jobs that go on without a pipeline, and stop them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from registry.command import Console, Subparsers, add_command, settings_of

if TYPE_CHECKING:
    from pipelines.orphans import Orphan


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `orphans`."""
    parser = add_command(
        subparsers,
        "orphans",
        __doc__,
        example="penstock orphans\npenstock orphans --stop",
        about="List jobs that run or wait although nobody waits for them: their attempt has ended "
        "or may no longer commit, their run has ended, or their pipeline is gone. The next "
        "`penstock run` of the same finds those that can still commit. With --stop they are "
        "ended, except where another run that lives may have found them.",
    )
    parser.add_argument("--stop", action="store_true", help="end them")
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """List or stop, and tell."""
    from pipelines.orphans import find_orphans
    from pipelines.session import Session
    from pipelines.stop import stop_attempts

    session = Session(settings_of(args))
    try:
        found = find_orphans(session.store, session.runner)
        sure = [orphan for orphan in found if not orphan.taken_over]
        if args.stop:
            stop_attempts(session.store, session.runner, [orphan.attempt for orphan in sure])
    finally:
        session.close()
    console.result({"orphans": [_row(orphan) for orphan in found], "stopped": args.stop})
    for orphan in found:
        _tell(orphan, args.stop, console)
    if not found:
        console.line("No job goes on without a pipeline.")
    elif not args.stop:
        console.next("penstock orphans --stop", "end them")
    return 0


def _tell(orphan: Orphan, stop: bool, console: Console) -> None:
    from pipelines.joblogs import step_of

    word = "left" if orphan.taken_over else "stopped" if stop else "orphan"
    heir = f"; run {orphan.taken_over} may have found it" if orphan.taken_over else ""
    what = f"{step_of(orphan.attempt)} {orphan.attempt.key[:16]}, attempt {orphan.attempt.number}"
    console.line(f"{word:<8} {what}: {orphan.why}{heir}", "yellow" if heir else "")
    console.line(f"{'':<8} {orphan.job.name}", "dim")


def _row(orphan: Orphan) -> dict[str, Any]:
    attempt = orphan.attempt
    return {
        "job": orphan.job.name,
        "key": attempt.key,
        "attempt": attempt.number,
        "run": attempt.run,
        "why": orphan.why,
        "taken_over": orphan.taken_over or None,
    }
