"""Stop what a run, or one artifact, has under way."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from registry.command import Console, Subparsers, add_command, settings_of

if TYPE_CHECKING:
    from pipelines.runners.protocol import Runner
    from pipelines.session import Session
    from registry.artifacts.attempt import Attempt


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `stop`."""
    parser = add_command(
        subparsers,
        "stop",
        __doc__,
        example="penstock stop 20130210T061500-3f9a1c\n"
        'penstock stop 0f3a9c5e71b2d864 --why "it has the wrong learning rate"',
        about="Stop a run: it begins no new step, its jobs here or in Nomad are ended, and it ends "
        "as stopped. With a key, only the job that makes that artifact. What was committed stays; "
        "the same `penstock run` goes on later.",
    )
    parser.add_argument("name", metavar="RUN|KEY", help="a run, or 16 digits or more of a key")
    parser.add_argument("--why", default="", metavar="TEXT", help="kept with the request")
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Stop, and tell what was stopped and what could not be."""
    from pipelines.session import Session

    session = Session(settings_of(args))
    try:
        stopped, left = _stop(session, args)
    finally:
        session.close()
    console.result({"stopped": [_row(a) for a in stopped], "left": [_row(a) for a in left]})
    for attempt in stopped:
        console.line("stopped  " + _words(attempt))
    for attempt in left:
        where = f"on {attempt.host}" if attempt.host else f"in {attempt.runner}"
        console.line(f"left     {_words(attempt)}: it is {where}", "yellow")
    if not stopped and not left:
        console.line("Nothing was under way.")
    console.next("penstock status", "what runs made, and how they ended")
    return 0


def _stop(session: Session, args: argparse.Namespace) -> tuple[list[Attempt], list[Attempt]]:
    """What was stopped, and what is left to another machine."""
    from pipelines.commands.status import checked_run
    from pipelines.stop import open_attempts, stop_attempts, stop_run
    from registry.identity import who_am_i
    from registry.names import is_key

    store, runner = session.store, session.runner
    if is_key(args.name):
        stopped = stop_attempts(store, runner, open_attempts(store, key=args.name))
        return stopped, _elsewhere(open_attempts(store, key=args.name), runner)
    name = checked_run(args.name)
    who = who_am_i(session.settings)
    stopped = stop_run(store, runner, name, who=who, why=args.why)
    return stopped, _elsewhere(open_attempts(store, run=name), runner)


def _elsewhere(attempts: list[Attempt], runner: Runner) -> list[Attempt]:
    from pipelines.stop import sees

    return [attempt for attempt in attempts if not sees(runner, attempt)]


def _row(attempt: Attempt) -> dict[str, object]:
    return {"key": attempt.key, "attempt": attempt.number, "run": attempt.run, "host": attempt.host}


def _words(attempt: Attempt) -> str:
    recipe = attempt.spec.recipe
    words = (attempt.kind, recipe.name, recipe.date, recipe.parameters.get("algorithm"))
    what = " ".join(str(word) for word in words if word)
    return f"{what} {attempt.key[:16]}, attempt {attempt.number}"
