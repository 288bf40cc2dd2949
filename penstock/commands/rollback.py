"""Make live again what was live before."""

from __future__ import annotations

import argparse

from registry.command import Console, Subparsers, add_command, natural


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `rollback`."""
    parser = add_command(
        subparsers, "rollback", __doc__,
        example='penstock rollback flights@champion --why "delays of JFK are off"\n'
        'penstock rollback flights@champion --to 3 --why "the last good one"',
        about="Make live again what was live before. This is a new, higher revision, so nothing is "
        "lost, and the next scheduled run does not undo it. Doing it twice goes two steps back.",
    )  # fmt: skip
    parser.add_argument("alias", metavar="ALIAS", help="flights@champion; champion if left out")
    parser.add_argument("--to", type=natural, metavar="N", help="what was live at revision N")
    parser.add_argument("--why", required=True, metavar="TEXT", help="kept with the decision")
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Roll back and say what is live."""
    from penstock.opened import open_registry, short
    from registry.aliases.decision import parse_alias
    from registry.identity import who_am_i

    about = parse_alias(args.alias)
    registry = open_registry(args)
    who = who_am_i(registry.settings)
    before = registry.aliases.current(*about)
    decision = registry.aliases.rollback(about, who=who, why=args.why, to=args.to)
    console.result({**registry.place(), "decision": decision})
    name = "@".join(about)
    console.line(f"{name} is {short(decision.live)} again (revision {decision.revision})")
    console.line(f"before: {short(before.live if before else None) or 'nothing'}")
    console.next(f"penstock models history {name}", "every decision, and why")
    return 0
