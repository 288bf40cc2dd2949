"""Withdraw an artifact: it and all below it are made again."""

from __future__ import annotations

import argparse

from registry.command import Console, Subparsers, add_command


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `retract`."""
    parser = add_command(
        subparsers, "retract", __doc__,
        example='penstock retract 0f3a9c5e71b2d864 --why "the feed of that day was cut short"',
        about="Withdraw an artifact. Nothing is deleted: its recipe gets a new key, and so does "
        "everything made from it, so that the next run makes them again.",
    )  # fmt: skip
    parser.add_argument("key", metavar="KEY", help="16 digits or more of a key")
    parser.add_argument("--why", required=True, metavar="TEXT", help="kept with the record")
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Retract, and warn where the artifact is live."""
    from penstock.opened import open_registry
    from registry.artifacts.retract import find_recipe, retract
    from registry.errors import NotFound
    from registry.identity import who_am_i
    from registry.names import parse_key

    key = parse_key(args.key)
    registry = open_registry(args)
    recipe = find_recipe(registry.store, key)
    if not recipe.key.startswith(key):
        raise NotFound(f"there is no artifact {key}", f"the one that starts alike is {recipe.key}")
    who = who_am_i(registry.settings)
    record = retract(registry.store, recipe.key, who=who, why=args.why)
    live = registry.live_at(record.key)
    console.result({**registry.place(), "retraction": record, "live_at": live})
    day = f" of {recipe.date}" if recipe.date else ""
    console.line(f"{recipe.family} {recipe.name}{day}, {record.key[:16]}, is withdrawn")
    if live:
        console.line(f"It is still live at {', '.join(live)}.", "yellow")
        console.next(f"penstock rollback {live[0]} --why TEXT", "take it out of traffic")
    else:
        console.next(f"penstock run {recipe.name} --date {recipe.date or 'DATE'}", "make it again")
    return 0
