"""Make what is missing for a date: data, features, models, a verdict, predictions."""

from __future__ import annotations

import argparse

from pipelines.commands.words import add_words, asked_of, root_of, spelled
from registry.command import Console, Subparsers, add_command, settings_of


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `run`."""
    parser = add_command(
        subparsers,
        "run",
        __doc__,
        example="penstock run flights --date 2013-02-10\n"
        "penstock run flights --date 2013-02-10 --set lightgbm.num_leaves=15\n"
        "penstock run flights --date 2013-02-10 --dry-run",
        about="Make what is missing for a date: data, features, models, a verdict, predictions. "
        "What is there is used again, so a second run does nothing. Interrupted, it can be run "
        "again: jobs that still run are found again.",
    )
    add_words(parser)
    parser.add_argument("--dry-run", action="store_true", help="the same as `penstock plan`")
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Run what is missing, tell as it goes, and tell what stands at the end."""
    from pipelines.commands import plan as planning
    from pipelines.commands.interrupt import run_interruptibly
    from pipelines.commands.outcome import outcome_of, tell
    from pipelines.commands.page import leave_page
    from pipelines.commands.watcher import Watcher
    from pipelines.plan import plan
    from pipelines.session import Session

    root = root_of(args)
    if args.dry_run:
        args.all = False
        return planning.run(args, console)
    session = Session(settings_of(args), asked=asked_of(args))
    steps = plan(session, [root])
    missing = sum(step.action != "reuse" for step in steps)
    if missing:
        console.line(f"run {session.run}: {planning.summary_line(steps)}")
        session.observer = Watcher(console, missing)
    try:
        result = run_interruptibly(session, [root], console, f"penstock run {spelled(args)}")
    finally:
        leave_page(session, console)
    outcome = outcome_of(session, root)
    ran = {"run": result.run, "made": result.made, "seconds": result.seconds}
    console.result({**ran, **outcome.document()})
    if result.run:
        console.line(f"done         {len(result.made)} made in {result.seconds:.1f} s")
    else:
        console.line("Nothing to do: everything is there.")
    tell(outcome, console)
    return 0
