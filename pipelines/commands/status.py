"""Show a run: what it made, what runs, waits or failed; live with --watch."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

from registry.command import Console, Subparsers, add_command, settings_of

if TYPE_CHECKING:
    from pipelines.history import Historian, History
    from registry.settings import Settings

_RUN = re.compile(r"\d{8}T\d{6}-[0-9a-f]{6}")


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `status`."""
    parser = add_command(
        subparsers,
        "status",
        __doc__,
        example="penstock status 20130210T061500-3f9a1c\n"
        "penstock status 20130210T061500-3f9a1c --watch\n"
        "penstock status --watch",
        about="Show a run, whichever process it goes on in: each step, why it was to run, its "
        "attempts, what it made, what failed, and who stopped it. With --watch, go on until it "
        "ends: drawn anew on a terminal, otherwise a line for each change. Without RUN, list the "
        "runs as `penstock runs` does; with --watch, show the newest.",
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help="the run; `penstock runs` lists them")
    parser.add_argument("--watch", action="store_true", help="go on until the run ends")
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Show or watch one run, or list them."""
    from pipelines.commands.live import watch
    from pipelines.history import Historian
    from registry.artifacts.store import open_environment

    name = checked_run(args.run) if args.run else None
    settings = settings_of(args)
    store = open_environment(settings)
    if name is None and args.watch:
        name = newest(store)
    if name is None:
        return _list(args, console)
    historian = Historian(store, settings.var, name)
    history = watch(historian, console) if args.watch else historian.read()
    console.result(document(historian, history))
    if not (args.watch and console.live):
        show(history, console)
        tell_loaded(settings, history, console)
    next_of(history, console)
    return 0


def newest(store: Any) -> str | None:
    """The newest run, if there is one."""
    from pipelines.runs import list_runs

    runs = list_runs(store, 1)
    return runs[0][0].run if runs else None


def _list(args: argparse.Namespace, console: Console) -> int:
    from pipelines.commands import runs

    args.usecase, args.date, args.failed, args.limit = None, None, False, 20
    return runs.run(args, console)


def checked_run(text: str) -> str:
    """`text`, if it has the form of a run's name. Raises UsageError."""
    from registry.errors import UsageError

    if not is_run(text):
        why = "runs are called like 20130210T061500-3f9a1c"
        raise UsageError(f"{text!r} is not a run", why, "`penstock runs` lists them.")
    return text


def is_run(text: str) -> bool:
    """Whether `text` has the form of a run's name."""
    return _RUN.fullmatch(text) is not None


def document(historian: Historian, history: History) -> dict[str, Any]:
    """A run for a script."""
    made = {step.key: step.path for step in history.of("made") if step.key}
    return {
        "run": history.run,
        "end": history.end,
        "status": history.state,
        "stopped_by": history.stop,
        "made": {key: _place(path or "") for key, path in made.items()},
        "steps": history.steps,
        "decisions": history.decisions,
        "metrics": {
            step.key: manifest.metrics
            for step in history.of("made")
            if (manifest := historian.manifest(step)) and manifest.metrics
        },
    }


def _place(path: str) -> str:
    """What an artifact is: family, name, date and readable parameters."""
    return path.removesuffix(".json").rpartition("--")[0].removeprefix("manifests/").rstrip("/")


def show(history: History, console: Console) -> None:
    """The whole run for a person."""
    from pipelines.spelled import COLUMNS, head, row, summary

    for label, value, style in head(history):
        console.line(f"{label:<10} {value}", style)
    shown = [step for step in history.steps if step.state != "there"]
    if shown:
        console.line()
        console.table(COLUMNS, [row(step, history.at) for step in shown])
    console.line(summary(history))
    for decision in history.decisions:
        reasons = f": {'; '.join(decision.reasons)}" if decision.reasons else ""
        key = decision.candidate.key[:16]
        console.line(
            f"decided    {decision.action} {key} at {decision.model}@{decision.alias}{reasons}"
        )
    for failure in history.end.failed if history.end else ():
        console.line(f"failed     {failure}", "red")


def tell_loaded(settings: Settings, history: History, console: Console) -> None:
    """For each alias that the run decided about, which instances have loaded its newest head."""
    from registry.aliases.loaded import open_instances
    from registry.errors import PenstockError

    newest = {(d.model, d.alias): d.revision for d in history.decisions}
    try:
        rows = open_instances(settings).all() if newest else []
    except PenstockError as error:
        console.note(f"what instances have loaded is not known: {error}")
        return
    for (model, alias), revision in newest.items():
        following = [row for row in rows if (row.model, row.alias) == (model, alias)]
        if following:
            there = sum(row.revision >= revision for row in following)
            console.line(
                f"loaded     {model}@{alias} revision {revision} or newer: "
                f"{there} of {len(following)} instances"
            )


def next_of(history: History, console: Console) -> None:
    """The next useful command after a look at a run."""
    from pipelines.commands.words import respelled

    name, again = history.run.run, respelled(history.run.asked)
    if history.of("failed", "lost"):
        console.next(f"penstock logs {name} --failed", "what the failed attempts printed")
    elif history.state == "succeeded":
        console.next(f"penstock page {name}", "timeline, attempts and results as one page")
    elif history.state == "running":
        console.next(f"penstock status {name} --watch", "follow it")
    else:
        console.next(again, "go on: what was made stays, what still runs is found again")
