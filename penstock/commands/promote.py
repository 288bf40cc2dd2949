"""Make a model live at an alias, whatever the gate said."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from registry.command import Console, Subparsers, add_command

if TYPE_CHECKING:
    from penstock.opened import Registry
    from registry.aliases import Decision
    from registry.artifacts.manifest import Manifest, Reference


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `promote`."""
    parser = add_command(
        subparsers, "promote", __doc__,
        example='penstock promote flights@champion 0f3a9c5e71b2d864 --why "gate margin is too strict"',
        about="Make a model live at an alias, whatever the gate said. Its files are verified and its "
        "golden rows predicted first; services that watch the alias load it within seconds.",
    )  # fmt: skip
    parser.add_argument("alias", metavar="ALIAS", help="flights@champion; champion if left out")
    parser.add_argument("model", metavar="KEY", help="16 digits or more of a key, or another alias")
    parser.add_argument("--why", required=True, metavar="TEXT", help="kept with the decision")
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Promote and say what is live."""
    from penstock.opened import open_registry, short
    from registry.aliases.decision import parse_alias
    from registry.names import find_named

    about = parse_alias(args.alias)
    registry = open_registry(args)
    found = find_named(registry.settings, registry.store, args.model)
    before = registry.aliases.current(*about)
    decision = promote(registry, about, *found, why=args.why)
    was = short(before.live if before else None)
    console.result({**registry.place(), "decision": decision})
    console.line(f"{'@'.join(about)} is {short(decision.live)} now (revision {decision.revision})")
    console.line(f"before: {was or 'nothing'}")
    _next(console, about, went_back=bool(was))
    return 0


def _next(console: Console, about: tuple[str, str], *, went_back: bool) -> None:
    name = "@".join(about)
    if went_back:
        console.next(f"penstock rollback {name} --why TEXT", "undo this")
    else:
        console.next(f"penstock serve {name}", "answer requests with it")


def promote(
    registry: Registry,
    about: tuple[str, str],
    reference: Reference,
    manifest: Manifest,
    *,
    why: str,
) -> Decision:
    """Make the artifact live at the alias `about`, after checking that it could serve there.

    Raises:
        Refused: it is another model's, was retracted, or is live there already; or it does not
            give here what its golden rows say.
        BadData, Corrupt: it is no bundle, or its files are damaged.
    """
    from penstock.artifacts import cache_of
    from registry.artifacts.fetch import fetch
    from registry.identity import who_am_i
    from registry.models.bundle import Bundle
    from registry.models.predictor import open_checked

    _check_name(about, manifest)
    check_standing(registry, manifest)
    bundle = Bundle.read(fetch(registry.store, reference, cache_of(registry.settings)))
    open_checked(bundle, bare=True).close()
    who = who_am_i(registry.settings)
    return registry.aliases.promote(about, reference, who=who, why=why)


def _check_name(about: tuple[str, str], manifest: Manifest) -> None:
    from registry.errors import Refused

    if manifest.model != about[0]:
        raise Refused(
            f"{manifest.key[:16]} is a model of {manifest.model}, not of {about[0]}",
            "an alias serves one model; its callers would get another's answers",
            f"Promote it to {manifest.model}@{about[1]}.",
        )


def check_standing(registry: Registry, manifest: Manifest) -> None:
    """Raise Refused if the artifact, or anything that it was made from, was retracted."""
    from registry.artifacts.fetch import read_ancestor
    from registry.artifacts.retract import is_retracted, read_epochs
    from registry.errors import Refused

    epochs = read_epochs(registry.store)
    seen: set[str] = set()
    stack = [manifest] if epochs else []
    while stack:
        each = stack.pop()
        if is_retracted(each.recipe(), epochs):
            raise Refused(
                f"{manifest.key[:16]} may not go live",
                f"the {each.family} {each.key[:16]} was retracted"
                + ("" if each.key == manifest.key else ", and it was made from that"),
                "Run the pipeline again: it makes a new one in its place.",
            )
        fresh = {reference.path for reference in each.references} - seen
        seen |= fresh
        stack += [read_ancestor(registry.store, path) for path in fresh]
