"""List runs, or show what one run made and what failed."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

from registry.command import Console, Subparsers, add_command, natural, settings_of

if TYPE_CHECKING:
    from pipelines.runs import Run, RunEnd
    from registry.artifacts.attempt import Attempt
    from registry.artifacts.store import Store

_RUN = re.compile(r"\d{8}T\d{6}-[0-9a-f]{6}")


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `status`."""
    parser = add_command(
        subparsers,
        "status",
        __doc__,
        example="penstock status\npenstock status 20130210T061500-3f9a1c",
        about="List the newest runs, or show one: who asked for what, which artifacts it made with "
        "their keys, what failed, and which attempts nobody has seen end.",
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help="show this run")
    parser.add_argument("--limit", type=natural, default=20, metavar="N", help="runs to list")
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """List runs, or show one."""
    from registry.artifacts.store import open_environment

    store = open_environment(settings_of(args))
    if args.run:
        _show(store, checked_run(args.run), console)
    else:
        _list(store, args.limit, console)
    return 0


def checked_run(text: str) -> str:
    """`text`, if it has the form of a run's name. Raises UsageError."""
    from registry.errors import UsageError

    if not _RUN.fullmatch(text):
        why = "runs are called like 20130210T061500-3f9a1c"
        raise UsageError(f"{text!r} is not a run", why, "`penstock status` lists them.")
    return text


def _list(store: Store, limit: int, console: Console) -> None:
    from pipelines.runs import list_runs

    runs = list_runs(store, limit)
    console.result({"runs": [_document(*each) for each in runs]})
    if not runs:
        console.line(f"There is no run yet in {store.url}.")
        console.next("penstock run flights --date 2013-02-10", "start one")
        return
    console.table(
        ["run", "asked for", "state", "made", "seconds", "by"], [_row(*each) for each in runs]
    )
    console.next(f"penstock status {runs[0][0].run}", "what it made and what failed")


def _document(run: Run, end: RunEnd | None) -> dict[str, Any]:
    return {"run": run, "end": end, "status": _state(end)}


def _state(end: RunEnd | None) -> str:
    return end.status if end else "unfinished"


def _asked(run: Run) -> str:
    words = [str(run.asked.get(name, "")) for name in ("usecase", "date")]
    changes = [
        f"{algorithm}.{name}={value}"
        for algorithm, changed in (run.asked.get("changes") or {}).items()
        for name, value in changed.items()
    ]
    return " ".join([*words, *changes]).strip()


def _row(run: Run, end: RunEnd | None) -> list[object]:
    made, seconds = (len(end.made), f"{end.seconds:.1f}") if end else ("", "")
    return [run.run, _asked(run), _state(end), made, seconds, run.who]


def _show(store: Store, name: str, console: Console) -> None:
    from pipelines.runs import read_run

    run, end = read_run(store, name)
    attempts = [] if end else _open_attempts(store, name)
    places = _places(store, end.made if end else [])
    console.result({**_document(run, end), "made": places, "open_attempts": attempts})
    dirty = " with uncommitted changes" if run.dirty else ""
    for label, value in (
        ("run", f"{run.run}, {_state(end)}"),
        ("asked for", _asked(run)),
        ("by", f"{run.who}, commit {run.commit[:12]}{dirty}"),
        ("started", run.started),
        ("ended", f"{end.ended}, after {end.seconds:.1f} s" if end else ""),
    ):
        if value:
            console.line(f"{label:<10} {value}")
    _tell_steps(end, places, attempts, console)
    _next(run, end, console)


def _tell_steps(
    end: RunEnd | None, places: dict[str, str], attempts: list[Attempt], console: Console
) -> None:
    for key, place in places.items():
        console.line(f"made       {key[:16]} {place}")
    for attempt in attempts:
        recipe = attempt.spec.recipe
        words = (attempt.kind, recipe.name, recipe.date, recipe.parameters.get("algorithm"))
        what = " ".join(str(word) for word in words if word)
        console.line(
            f"open       {what}, attempt {attempt.number} ({attempt.size}, {attempt.host})"
        )
    for failure in end.failed if end else ():
        console.line(f"failed     {failure}", "red")


def _next(run: Run, end: RunEnd | None, console: Console) -> None:
    again = f"penstock run {run.asked.get('usecase')} --date {run.asked.get('date')}"
    if end is None:
        console.next(again, "go on, if it was interrupted: what still runs is found again")
    elif end.failed:
        console.next(again, "try again, once the cause is mended; what was made stays")
    else:
        console.next("penstock models", "what is live, since when, by whom")


def _places(store: Store, keys: list[str]) -> dict[str, str]:
    """What each key is, by one listing: family, name, date and readable parameters."""
    wanted = {key[:16]: key for key in keys}
    found = {}
    for path in store.list("manifests/") if wanted else ():
        stem, _, short = path.removesuffix(".json").rpartition("--")
        if short in wanted:
            found[wanted[short]] = stem.removeprefix("manifests/").rstrip("/")
    return {key: found.get(key, "its manifest is gone") for key in keys}


def _open_attempts(store: Store, run: str) -> list[Attempt]:
    """The attempts of a run whose end nobody has recorded: they run, or died unseen."""
    from registry.artifacts.attempt import read_attempt

    paths = set(store.list("attempts/"))
    records = (path for path in sorted(paths) if path.endswith(".json"))
    unended = [
        path
        for path in records
        if not path.endswith(".end.json") and path.removesuffix(".json") + ".end.json" not in paths
    ]
    attempts = (read_attempt(store, path) for path in unended)
    return [attempt for attempt in attempts if attempt.run == run]
