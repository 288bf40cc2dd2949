"""Pure functions over the entries of a decision log: what the next entry would be."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from registry.aliases.decision import Action, Decision
from registry.artifacts.manifest import Reference
from registry.artifacts.store.once import write_id
from registry.errors import UsageError


def draft(
    about: tuple[str, str],
    action: Action,
    candidate: Reference,
    live: Reference | None,
    *,
    who: str,
    why: str,
    reasons: Sequence[str] = (),
    evaluation: Reference | None = None,
    restores: int | None = None,
) -> Decision:
    """An entry about the alias `about` (model, alias), whose revision the log will set."""
    model, alias = about
    when = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
    return Decision(
        model=model,
        alias=alias,
        revision=0,
        action=action,
        candidate=candidate,
        live=live,
        reasons=list(reasons),
        who=who,
        why=_reason(why),
        when=when,
        write_id=write_id(),
        evaluation=evaluation,
        restores=restores,
    )


def _reason(why: str) -> str:
    if not why.strip():
        raise UsageError("a decision needs a reason", "", "Add --why TEXT.")
    return why.strip()


def verdict(entries: Sequence[Decision], key: str) -> Decision | None:
    """The entry that published or rejected the candidate `key`."""
    for entry in entries:
        if entry.action in ("publish", "reject") and entry.candidate.key == key:
            return entry
    return None


def live_after(entries: Sequence[Decision]) -> Reference | None:
    """What is live after `entries`."""
    return entries[-1].live if entries else None


def at_revision(entries: Sequence[Decision], revision: int) -> Decision | None:
    """The entry of that revision."""
    return next((entry for entry in entries if entry.revision == revision), None)


def stands_for(entries: Sequence[Decision], entry: Decision) -> int:
    """The revision that first made live what `entry` left live.

    An entry that changed nothing (a rejection, the verdict about what is live already) stands
    where the one before it stands, and a rollback where the entry stands that it restored.
    """
    mover, live = entry, None
    for earlier in entries:
        if earlier.revision > entry.revision:
            break
        if earlier.action == "rollback" or earlier.live != live:
            mover = earlier
        live = earlier.live
    return mover.restores or mover.revision


def before(entries: Sequence[Decision]) -> Decision | None:
    """The entry that made live what was live before the present artifact.

    Going back twice goes two steps back, whatever was rejected in between.
    """
    present = live_after(entries)
    if present is None:
        return None
    position = stands_for(entries, entries[-1])
    for entry in reversed(entries):
        if entry.revision < position and entry.live and entry.live.key != present.key:
            return entry
    return None
