"""Bring a model to another environment, and make it live there."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from registry.command import Console, Subparsers, add_command

if TYPE_CHECKING:
    from penstock.opened import Registry
    from penstock.releasing import Release


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `release`."""
    parser = add_command(
        subparsers, "release", __doc__,
        example='penstock release flights@champion --to staging --why "a week without complaints"\n'
        'penstock release flights@champion --to prod --environment staging --why "tested" --dry-run',
        about="Copy a model, with the report about it and the manifests of all it was made from, "
        "to another environment of the same store, verify every digest, predict its golden rows, "
        "and make it live there under the same alias. The same model twice changes nothing; a "
        "release that was cut short is completed by repeating it. Into prod goes only what "
        "committed code made.",
    )  # fmt: skip
    parser.add_argument("name", metavar="NAME", help="an alias, or 16 digits or more of a key")
    parser.add_argument("--to", required=True, metavar="ENVIRONMENT", help="staging, prod, …")
    parser.add_argument("--alias", metavar="ALIAS", help="another alias there, e.g. challenger")
    parser.add_argument("--why", required=True, metavar="TEXT", help="kept with the decision")
    parser.add_argument("--dry-run", action="store_true", help="check and count, copy nothing")
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Release, or say what that would bring."""
    from penstock.opened import open_registry, short
    from penstock.releasing import prepare, release
    from registry.aliases.decision import check_alias
    from registry.names import find_named

    source, target = open_registry(args), _target(args)
    reference, manifest = find_named(source.settings, source.store, args.name)
    about = (manifest.model, args.alias or _alias(args.name))
    check_alias(*about)
    what = prepare(source, target, about, reference)
    if args.dry_run:
        return _tell_plan(console, args, target, what)
    before = target.aliases.current(*about)
    decision, is_new = release(source, target, about, what, args.why)
    console.result({**target.place(), "decision": decision, "new": is_new})
    name, environment = "@".join(about), target.settings.environment
    if is_new:
        console.line(f"{name} is {short(decision.live)} in {environment} now "
                     f"(revision {decision.revision})")  # fmt: skip
        console.line(f"before: {short(before.live if before else None) or 'nothing'}")
    else:
        console.line(f"{name} is {short(decision.live)} in {environment} already.")
    console.next(f"penstock serve {name} --environment {environment}", "answer requests with it")
    return 0


def _alias(name: str) -> str:
    from registry.aliases.decision import parse_alias
    from registry.names import is_key

    return "champion" if is_key(name) else parse_alias(name)[1]


def _target(args: argparse.Namespace) -> Registry:
    """The environment that is released to."""
    from penstock.opened import Registry
    from registry.aliases import open_aliases
    from registry.artifacts.store import open_environment
    from registry.command import settings_of
    from registry.errors import UsageError
    from registry.settings import Settings

    settings = Settings.load(**{**args.flags, "environment": args.to})
    if settings.environment == settings_of(args).environment:
        raise UsageError(
            f"the model is in {args.to} already", "", "`penstock promote` makes it live there."
        )
    store = open_environment(settings)
    return Registry(settings, store, open_aliases(settings, store))


def _tell_plan(console: Console, args: argparse.Namespace, target: Registry, what: Release) -> int:
    size = sum(file.size for file in what.manifest.files)
    console.result({
        **target.place(),
        "reference": what.reference,
        "report": what.report,
        "ancestors": len(what.ancestors),
        "bytes": size,
    })  # fmt: skip
    console.line(f"model      {what.reference.key[:16]}, {size:,} bytes")
    console.line(f"report     {what.report.key[:16] if what.report else 'none'}")
    console.line(f"lineage    {len(what.ancestors)} manifests")
    console.next(f"penstock release {args.name} --to {args.to} --why TEXT", "do it")
    return 0
