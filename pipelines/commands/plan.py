"""Show what a run would do and why, without doing it."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING

from pipelines.commands.words import add_words, root_of, spelled
from registry.command import Console, Subparsers, add_command, settings_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.plan import Action, PlannedStep

_MEANS: dict[Action, str] = {
    "reuse": "there already",
    "run": "to run",
    "decide": "decided on the way",
}


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `plan`."""
    parser = add_command(
        subparsers,
        "plan",
        __doc__,
        example="penstock plan flights --date 2013-02-10\n"
        "penstock plan flights --date 2013-02-10 --set lightgbm.num_leaves=15",
        about="Show what a run would do and why, without doing it: what is there already, which "
        "jobs would run, and what only the run can decide.",
    )
    add_words(parser)
    parser.add_argument("--all", action="store_true", help="show what is there already as well")
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Plan and tell."""
    from pipelines.plan import plan
    from pipelines.session import Session

    steps = plan(Session(settings_of(args)), [root_of(args)])
    console.result({"counts": Counter(step.action for step in steps), "steps": steps})
    shown = [step for step in steps if args.all or step.action != "reuse"]
    if shown:
        console.table(
            ["step", "what", "why", "key", "size", "usual s"], [_row(step) for step in shown]
        )
    console.line(summary_line(steps))
    if any(step.action != "reuse" for step in steps):
        console.next(f"penstock run {spelled(args)}", "do it")
    else:
        console.next("penstock models", "what is live, since when, by whom")
    return 0


def _row(step: PlannedStep) -> list[object]:
    return [step.step, step.action, step.why, (step.key or "")[:16], step.size, step.seconds]


def summary_line(steps: Sequence[PlannedStep]) -> str:
    """How many steps of each kind there are, and how long the jobs usually take."""
    counts = Counter(step.action for step in steps)
    parts = [f"{counts[action]} {means}" for action, means in _MEANS.items() if counts[action]]
    usual = sum(step.seconds or 0 for step in steps if step.action == "run")
    return ", ".join(parts) + (f"; about {usual:.0f} s of work" if usual else "")
