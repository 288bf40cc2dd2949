"""Register the work of pipelines, and their schedules, with Nomad."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from registry.command import Console, Subparsers, add_command, settings_of

if TYPE_CHECKING:
    from pipelines.registration.register import Planned
    from pipelines.registration.wanted import Wanted
    from registry.settings import Settings


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `register`."""
    parser = add_command(
        subparsers,
        "register",
        __doc__,
        example="penstock register --image registry.example.com/penstock:1.4.0 --plan\n"
        "penstock register flights --image registry.example.com/penstock:1.4.0\n"
        "penstock register flights --var-file prod.vars.hcl --var 'crons=[\"0 */3 * * *\"]'\n"
        "penstock register --dev",
        about="Register a parameterized job for every kind of work and size, and a periodic job "
        "for each USECASE that is named, from the specifications in nomad/. Only what differs is "
        "registered, and only if nobody else changed it meanwhile. Services: `penstock deploy`.",
    )
    parser.add_argument(
        "usecases", metavar="USECASE", nargs="*", help="run its pipeline on a schedule too"
    )
    add_values(parser)
    return parser


def add_values(parser: argparse.ArgumentParser) -> None:
    """Add what says how specifications are filled in; `deploy` has the same."""
    parser.add_argument(
        "--plan", action="store_true", help="show what would change, change nothing"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--image", metavar="NAME:TAG", help="the container image to run")
    what.add_argument(
        "--dev", action="store_true", help="run the programs of this checkout, without containers"
    )
    parser.add_argument(
        "--var", action="append", default=[], metavar="NAME=VALUE", help="a variable; repeatable"
    )
    parser.add_argument(
        "--var-file", action="append", default=[], type=Path, metavar="FILE",
        help="a file of variables, as `nomad fmt` formats it; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE",
        help="a variable of the environment of what runs, never a secret; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--specs", type=Path, metavar="FOLDER", help="the specifications (default: nomad)"
    )


def run(args: argparse.Namespace, console: Console) -> int:
    """Plan everything first, so that a mistake in one job leaves all as they are."""
    from pipelines.registration.cluster import batch_cluster
    from pipelines.registration.register import plan, register
    from pipelines.registration.specs import find_folder, known_variables
    from pipelines.registration.values import given_values

    settings = settings_of(args)
    folder = find_folder(args.specs)
    given = given_values(args.var_file, args.var, known_variables(folder))
    wanted = _wanted(args, settings, folder)
    cluster = batch_cluster()
    try:
        planned = [plan(cluster, each, given) for each in wanted]
        if not args.plan:
            for each in planned:
                register(cluster, each)
    finally:
        cluster.close()
    _tell(planned, args, console)
    return 0


def environment_of(args: argparse.Namespace) -> dict[str, str]:
    """The variables of `--env`. Raises UsageError."""
    from registry.errors import UsageError

    found = {}
    for word in args.env:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(f"--env {name!r} cannot be read", "", "Write it as NAME=VALUE.")
        found[name] = value
    return found


def _wanted(args: argparse.Namespace, settings: Settings, folder: Path) -> list[Wanted]:
    from pipelines.registration import wanted

    checkout = folder.parent if args.dev else None
    common = wanted.shared(settings, image=args.image, checkout=checkout)
    more = environment_of(args)
    jobs = wanted.work(folder, common, os.environ, more)
    if not args.usecases:
        return jobs
    return jobs + wanted.pipelines(folder, args.usecases, common, os.environ, more)


def _tell(planned: list[Planned], args: argparse.Namespace, console: Console) -> None:
    names = {"jobs": [{"id": p.name, "action": p.action, "changes": p.changes} for p in planned]}
    console.result({**names, "registered": not args.plan})
    for each in planned:
        tell_planned(each, console)
    counts = {action: sum(p.action == action for p in planned) for action in ("new", "changed")}
    same = len(planned) - sum(counts.values())
    verb = "would be" if args.plan else "are"
    console.line(
        f"{counts['new']} jobs {verb} new, {counts['changed']} {verb} changed, {same} as they were.",
        "bold",
    )
    if args.plan:
        console.next("penstock register", "the same words without --plan do it")
    else:
        console.next("penstock run flights --date 2013-02-10", "dispatch the work of a date")


def tell_planned(planned: Planned, console: Console, most: int = 12) -> None:
    """One job's line, and what changes in it."""
    if planned.action != "unchanged":
        console.line(f"{planned.action:<9} {planned.name}", "yellow")
    if planned.action == "changed":
        for line in planned.changes[:most]:
            console.line(f"          {line}", "dim")
        if len(planned.changes) > most:
            console.line(f"          and {len(planned.changes) - most} more", "dim")
    if planned.warnings:
        console.note(f"{planned.name}: {planned.warnings}")
