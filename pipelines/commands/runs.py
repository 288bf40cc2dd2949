"""List runs, the newest first."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from registry.command import Console, Subparsers, add_command, natural, settings_of

if TYPE_CHECKING:
    from pipelines.runs import Run, RunEnd


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `runs`."""
    from pipelines.commands.words import a_date

    parser = add_command(
        subparsers,
        "runs",
        __doc__,
        example="penstock runs\npenstock runs --usecase flights --failed --limit 5",
        about="List runs, the newest first: who asked for what, how it stands, what it made. "
        "`running` is a run whose process is on this machine; `interrupted` one whose process is "
        "gone without a word; `unfinished` one of another machine that recorded no end.",
    )
    parser.add_argument("--usecase", metavar="NAME", help="only those of this use case")
    parser.add_argument(
        "--date", type=a_date, metavar="YYYY-MM-DD", help="only those of this logical date"
    )
    parser.add_argument(
        "--failed", action="store_true", help="only those that failed, were stopped or interrupted"
    )
    parser.add_argument("--limit", type=natural, default=20, metavar="N", help="runs to list")
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """List."""
    from pipelines.runs import list_runs
    from registry.artifacts.store import open_environment

    store = open_environment(settings_of(args))
    runs = list_runs(store, args.limit, lambda *recorded: _is_wanted(args, *recorded))
    console.result({"runs": [document(*each) for each in runs]})
    if not runs:
        _nothing(args, store.url, console)
        return 0
    console.table(
        ["run", "asked for", "state", "made", "seconds", "by"], [_row(*each) for each in runs]
    )
    console.next(f"penstock status {runs[0][0].run}", "what it made and what failed")
    return 0


def _nothing(args: argparse.Namespace, url: str, console: Console) -> None:
    if args.usecase or args.date or args.failed:
        console.line(f"No run in {url} is of that kind.")
        console.next("penstock runs", "all of them")
    else:
        console.line(f"There is no run yet in {url}.")
        console.next("penstock run flights --date 2013-02-10", "start one")


def _is_wanted(args: argparse.Namespace, run: Run, end: RunEnd | None) -> bool:
    from pipelines.runs import state_of

    if args.usecase and run.asked.get("usecase") != args.usecase:
        return False
    if args.date and not _covers(str(run.asked.get("date")), args.date.isoformat()):
        return False
    return not args.failed or state_of(run, end) in ("failed", "stopped", "interrupted")


def _covers(asked: str, date: str) -> bool:
    """Whether what was asked for, a date or a range of them, holds `date`."""
    first, _, last = asked.partition("..")
    return first <= date <= (last or first)


def document(run: Run, end: RunEnd | None) -> dict[str, Any]:
    """One run for a script, without its plan."""
    import msgspec

    from pipelines.runs import state_of

    brief = msgspec.structs.replace(run, planned=[])
    return {"run": brief, "end": end, "status": state_of(run, end)}


def _row(run: Run, end: RunEnd | None) -> list[object]:
    from pipelines.runs import asked_words, state_of

    made, seconds = (len(end.made), f"{end.seconds:.1f}") if end else ("", "")
    return [run.run, asked_words(run), state_of(run, end), made, seconds, run.who]
