"""Show what the jobs of a run, or those of one artifact, printed."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from registry.command import Console, Subparsers, add_command, natural, settings_of

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.joblogs import JobLog
    from registry.artifacts.journal import Tried
    from registry.artifacts.store import Store

#: Seconds between two looks while following.
PAUSE = 0.5


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `logs`."""
    parser = add_command(
        subparsers,
        "logs",
        __doc__,
        example="penstock logs 20130210T061500-3f9a1c --failed\n"
        "penstock logs 0f3a9c5e71b2d864 --attempt 2\n"
        "penstock logs 20130210T061500-3f9a1c --follow",
        about="Show what the jobs of a run printed, one after the other, or those of the newest "
        "attempt at one artifact. The store keeps the last 64 KiB of an attempt that ended; of "
        "one that runs on this machine the whole log is there.",
    )
    parser.add_argument("name", metavar="RUN|KEY", help="a run, or 16 digits or more of a key")
    parser.add_argument(
        "--attempt", type=natural, metavar="N", help="this attempt at each artifact"
    )
    parser.add_argument("--failed", action="store_true", help="only attempts that failed")
    parser.add_argument(
        "--follow", action="store_true", help="go on with what is printed, until all have ended"
    )
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Show the logs, or follow them."""
    from registry.artifacts.store import open_environment
    from registry.errors import NotFound

    settings = settings_of(args)
    chosen = _Chosen(open_environment(settings), settings.var, args)
    logs = chosen.logs()
    if not logs:
        kinds = "failed attempt" if args.failed else "attempt"
        raise NotFound(
            f"there is no {kinds} of {args.name}", "", "`penstock status RUN` shows attempts."
        )
    if args.follow and not console.json:
        _follow(chosen, console)
        return 0
    console.result({"logs": [_document(log, tried) for log, tried in logs]})
    for log, tried in logs:
        _header(tried, log, console)
        for line in log.text().rstrip().splitlines():
            console.line(line)
    return 0


class _Chosen:
    """The attempts that the words of a call mean; more may come while it follows them."""

    def __init__(self, store: Store, var: Path, args: argparse.Namespace) -> None:
        from pipelines.commands.status import is_run
        from registry.artifacts.journal import Journal
        from registry.names import parse_key

        self._store, self._var, self._args = store, var, args
        self.run = args.name if is_run(args.name) else ""
        key = "" if self.run else parse_key(args.name)
        self._key = _full_key(store, key) if key else ""
        self._journal = Journal(store, self.run)

    def logs(self) -> list[tuple[JobLog, Tried]]:
        """The logs of the attempts that there are now."""
        from pipelines.joblogs import JobLog

        self._journal.refresh(self._key)
        tries = [tried for tried in self._journal.tries() if self._is_meant(tried)]
        if not self.run and self._args.attempt is None:
            tries = tries[-1:]
        return [(JobLog(self._store, self._var, tried.attempt), tried) for tried in tries]

    def is_over(self) -> bool:
        """Whether no further attempt will come."""
        from pipelines.runs import read_run, state_of

        if not self.run:
            return True
        return state_of(*read_run(self._store, self.run)) not in ("running", "unfinished")

    def _is_meant(self, tried: Tried) -> bool:
        number = self._args.attempt
        return (number is None or tried.attempt.number == number) and (
            tried.failed or not self._args.failed
        )


def _full_key(store: Store, digits: str) -> str:
    """The key that has attempts and starts with `digits`. Raises NotFound."""
    from registry.errors import NotFound

    if len(digits) == 64:
        return digits
    for path in store.list("attempts/"):
        if path.startswith(f"attempts/{digits}"):
            return path.split("/")[1]
    raise NotFound(
        f"there is no attempt at {digits} in {store.url}",
        "",
        "Check PENSTOCK_STORE and PENSTOCK_ENVIRONMENT; `penstock runs` lists runs.",
    )


def _document(log: JobLog, tried: Tried) -> dict[str, Any]:
    from pipelines.joblogs import step_of

    about = {"step": step_of(tried.attempt), "source": log.source, "log": log.text()}
    return {"attempt": tried.attempt, "end": tried.end, **about}


def _header(tried: Tried, log: JobLog, console: Console) -> None:
    from pipelines.joblogs import step_of

    attempt = tried.attempt
    how = tried.end.kind if tried.end else "no end recorded yet"
    where = f", log from {log.source}" if log.source else ", nothing was printed"
    console.line(
        f"== {step_of(attempt)} {attempt.key[:16]}, attempt {attempt.number} ({attempt.size}): "
        f"{how}{where}",
        "red" if tried.failed else "bold",
    )


def _follow(chosen: _Chosen, console: Console) -> None:
    """Print lines as they come, each with its step where there are several; until all ended."""
    known: dict[str, JobLog] = {}
    done: set[str] = set()
    while True:
        over = chosen.is_over()  # Before the logs: what is printed before the end is read below.
        for log, _ in chosen.logs():
            known.setdefault(log.attempt.write_id, log)
        for name, log in known.items():
            if name not in done and _print_fresh(log, chosen.run, console):
                done.add(name)
            if over and chosen.run and log.never_began():
                done.add(name)
        if over and done.issuperset(known):
            return
        time.sleep(PAUSE)


def _print_fresh(log: JobLog, run: str, console: Console) -> bool:
    """Print what is new; whether that was the last of it."""
    from pipelines.joblogs import step_of

    ended = log.has_ended()
    mark = f"{step_of(log.attempt)}: " if run else ""
    for line in log.fresh(final=ended):
        console.line(f"{mark}{line}")
    return ended
