"""Make what is missing for every date of a range, as one run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from pipelines.commands.words import a_date, add_changes, changes_of, respelled
from registry.command import Console, Subparsers, add_command, natural, settings_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.backfill import Day
    from pipelines.plan import PlannedStep
    from pipelines.predict import Predict
    from pipelines.session import Session


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `backfill`."""
    parser = add_command(
        subparsers,
        "backfill",
        __doc__,
        example="penstock backfill flights --from 2013-02-01 --to 2013-02-14 --dry-run\n"
        "penstock backfill flights --from 2013-02-01 --to 2013-02-14\n"
        "penstock backfill flights --from 2013-02-01 --to 2013-02-14 --parallel 4 --order newest",
        about="Make what is missing for every date of a range, as one run: plan first, then data, "
        "features, models and evaluations of all dates side by side. Comparison with the champion "
        "and verdict follow date by date, oldest first, since each date meets the champion that "
        "the date before left. Interrupted, it can be run again and ends with the same artifacts.",
    )
    parser.add_argument("usecase", metavar="USECASE", help="a folder below usecases/, e.g. flights")
    for flag, dest, meaning in (("--from", "first", "first"), ("--to", "last", "last")):
        parser.add_argument(
            flag, dest=dest, required=True, type=a_date, metavar="YYYY-MM-DD",
            help=f"the {meaning} logical date",
        )  # fmt: skip
    parser.add_argument(
        "--parallel", type=natural, metavar="N",
        help="steps that may wait on jobs at once (PENSTOCK_WORKERS); verdicts stay in date order",
    )  # fmt: skip
    parser.add_argument(
        "--order", choices=["oldest", "newest"], default="oldest",
        help="whose data, features and models are made first; verdicts are always oldest first",
    )  # fmt: skip
    add_changes(parser)
    parser.add_argument("--dry-run", action="store_true", help="show the plan, do nothing")
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Plan, tell, run unless it is a dry run, and tell how each date stands."""
    from pipelines.plan import plan
    from pipelines.session import Session

    roots = _roots(args)
    session = Session(
        settings_of(args, workers=args.parallel), asked=_asked(args), order=_order(args, roots)
    )
    steps = plan(session, roots)
    _tell_plan(console, session, roots, steps)
    if args.dry_run:
        _result(console, None, steps, _standing(session, roots))
        console.next(respelled(_asked(args)), "do it")
        return 0
    return _run(session, roots, steps, args, console)


def _roots(args: argparse.Namespace) -> list[Predict]:
    from pipelines.backfill import roots_between
    from registry.usecase import load_usecase

    load_usecase(args.usecase)
    return roots_between(args.usecase, args.first, args.last, changes_of(args.set))


def _order(args: argparse.Namespace, roots: list[Predict]) -> Any:
    from pipelines.backfill import order_of

    return order_of(roots, newest_first=args.order == "newest")


def _asked(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "command": "backfill",
        "usecase": args.usecase,
        "date": f"{args.first}..{args.last}",
        "changes": changes_of(args.set),
        "order": args.order,
    }


def _run(
    session: Session,
    roots: list[Predict],
    steps: Sequence[PlannedStep],
    args: argparse.Namespace,
    console: Console,
) -> int:
    from pipelines.commands.interrupt import run_interruptibly
    from pipelines.commands.page import leave_page
    from pipelines.commands.watcher import Watcher

    missing = sum(step.action != "reuse" for step in steps)
    session.observer = Watcher(console, missing, brief=True)
    try:
        result = run_interruptibly(session, roots, console, respelled(_asked(args)))
    finally:
        leave_page(session, console)
    days = _standing(session, roots)
    _result(console, vars(result), steps, days)
    if result.run:
        console.line(f"done         {len(result.made)} made in {result.seconds:.1f} s")
    else:
        console.line("Nothing to do: everything is there.")
    console.table(["date", "verdict", "predictions"], [_row(day) for day in days])
    console.next(f"penstock models history {args.usecase}@champion", "every decision, and why")
    return 0


def _standing(session: Session, roots: list[Predict]) -> list[Day]:
    from pipelines.backfill import standing

    return standing(session, roots)


def _result(
    console: Console, ran: dict[str, Any] | None, steps: Sequence[PlannedStep], days: list[Day]
) -> None:
    from collections import Counter

    counts = Counter(step.action for step in steps)
    console.result({**(ran or {"run": None}), "counts": counts, "dates": days})


def _row(day: Day) -> list[object]:
    return [day.date, day.verdict or "none yet", "there" if day.predicted else "missing"]


def _tell_plan(
    console: Console, session: Session, roots: list[Predict], steps: Sequence[PlannedStep]
) -> None:
    from pipelines.commands.plan import summary_line

    console.line(f"{len(roots)} dates: {summary_line(steps)}")
    due = [step for step in steps if step.action == "run"]
    if not due:
        return
    known = [step.seconds for step in due if step.seconds is not None]
    if len(known) < len(due):
        console.line(f"{len(due) - len(known)} of these have no earlier job to estimate from")
    if known:
        at_once = session.settings.workers
        least = max(sum(known) / at_once, *known)
        console.line(f"not below {least:.0f} s with {at_once} steps at once, if they find room")
