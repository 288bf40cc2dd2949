"""Write a run as one HTML page: timeline, steps and reasons, results, failures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from registry.command import Console, Subparsers, add_command, settings_of

if TYPE_CHECKING:
    from pipelines.session import Session


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `page`."""
    parser = add_command(
        subparsers,
        "page",
        __doc__,
        example="penstock page 20130210T061500-3f9a1c\n"
        "penstock page 20130210T061500-3f9a1c --out run.html",
        about="Write a run as one HTML page that needs nothing else: a timeline, what ran and why, "
        "attempts, resources asked and used, metrics, decisions, links to reports and "
        "predictions, and the last lines of what failed. Every `penstock run` writes it too.",
    )
    parser.add_argument("run", metavar="RUN", help="the run; `penstock runs` lists them")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="default: pages/RUN.html below PENSTOCK_VAR"
    )
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Write the page and say where it is."""
    from pipelines.commands.status import checked_run
    from pipelines.history import Historian
    from pipelines.page import page_path, write_page
    from registry.artifacts.store import open_environment

    name = checked_run(args.run)
    settings = settings_of(args)
    target: Path = args.out or page_path(settings.var, name)
    store = open_environment(settings)
    historian = Historian(store, settings.var, name)
    history = write_page(historian, store, target)
    console.result({"run": name, "status": history.state, "page": target})
    console.line(f"page       {target}")
    console.next(f"penstock status {name}", "the same on the terminal")
    return 0


def leave_page(session: Session, console: Console) -> None:
    """Write the page of the session's run, and tell where it is; a run never fails for it."""
    from pipelines.history import Historian
    from pipelines.page import page_path, write_page
    from registry.errors import PenstockError

    if not session.began:
        return
    var = session.settings.var
    target = page_path(var, session.run)
    historian = Historian(session.store, var, session.run, session.keys())
    try:
        write_page(historian, session.store, target)
    except PenstockError as error:
        console.note(f"the page of the run could not be written: {error}")
    else:
        console.line(f"page         {target}")
