"""The decision log: revision n+1 is an object created if absent. It is the truth about aliases."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from registry.artifacts import layout
from registry.artifacts.collection import refuse_collected
from registry.artifacts.manifest import Reference
from registry.artifacts.records import decode_record, encode_record
from registry.artifacts.store.once import create_once
from registry.artifacts.store.protocol import Store
from registry.crashpoints import crashpoint
from registry.errors import BadData, UsageError

Action = Literal["publish", "reject", "promote", "rollback"]
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_ENTRY = re.compile(r"decisions/(?P<model>[^/]+)/(?P<alias>[^/]+)/(?P<revision>[0-9]{8})\.json")


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry: about `candidate`; afterwards the alias points at `live`.

    A rejection keeps what was live. `restores` is the revision that a rollback went back to.
    `when` is ISO 8601 in UTC. `write_id` tells this entry from a racing writer's.
    """

    model: str
    alias: str
    revision: int
    action: Action
    candidate: Reference
    live: Reference | None
    reasons: list[str]
    who: str
    why: str
    when: str
    write_id: str
    evaluation: Reference | None = None
    restores: int | None = None


def check_alias(model: str, alias: str) -> None:
    """Raise UsageError unless both names can be used in paths and URLs."""
    for what, name in (("model", model), ("alias", alias)):
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} is not the name of {'an' if what == 'alias' else 'a'} {what}",
                "names have 1 to 63 of a-z, 0-9, _ and -, and start with a letter",
                "Write model@alias, for example flights@champion.",
            )


def parse_alias(text: str, default: str = "champion") -> tuple[str, str]:
    """`flights@champion` as ("flights", "champion"); the alias may be left out.

    Raises:
        UsageError: one of the names cannot be used.
    """
    model, separator, alias = text.partition("@")
    alias = alias if separator else default
    check_alias(model, alias)
    return model, alias


class DecisionLog:
    """The decisions about every alias in one environment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Entries never change, and a backfill asks about each of its dates.
        self._known: dict[str, Decision] = {}

    def entries(self, model: str, alias: str) -> list[Decision]:
        """Every decision about an alias, oldest first.

        Raises:
            BadData: an entry is not a decision; names it.
        """
        return [self._read(model, alias, r) for r in self._settled_revisions(model, alias)]

    def newest(self, model: str, alias: str) -> Decision | None:
        """The last decision about an alias, or None before the first."""
        revisions = self._revisions(model, alias)
        return self._read(model, alias, revisions[-1]) if revisions else None

    def names(self) -> list[tuple[str, str]]:
        """Every (model, alias) that has a decision, sorted."""
        found = (_ENTRY.fullmatch(path) for path in self._store.list("decisions/"))
        return sorted({(match["model"], match["alias"]) for match in found if match})

    def append(
        self,
        model: str,
        alias: str,
        decide: Callable[[Sequence[Decision]], Decision | None],
        above: int = 0,
    ) -> Decision | None:
        """Append what `decide` makes of the entries so far; None from it appends nothing.

        When another writer is first, `decide` is called again with the longer log. The revision
        of the new entry is set here: one more than the newest entry and than `above`.

        Raises:
            Refused: what would go live was collected, or is about to be.
        """
        while True:
            entries = self.entries(model, alias)
            draft = decide(entries)
            if draft is None:
                return None
            if draft.live is not None and draft.live != (entries[-1].live if entries else None):
                refuse_collected(self._store, draft.live)
            newest = entries[-1].revision if entries else 0
            decision = msgspec.structs.replace(draft, revision=max(newest, above) + 1)
            path = layout.decision_path(model, alias, decision.revision)
            crashpoint("publish.before_decision")
            if create_once(self._store, path, encode_record(decision)).mine:
                crashpoint("publish.after_decision")
                return decision

    def _revisions(self, model: str, alias: str) -> list[int]:
        """The revisions that have an entry, rising. Other files, such as copies, do not count."""
        check_alias(model, alias)
        paths = self._store.list(f"decisions/{model}/{alias}/")
        return [int(match["revision"]) for match in map(_ENTRY.fullmatch, paths) if match]

    def _settled_revisions(self, model: str, alias: str) -> list[int]:
        """The revisions up to the newest, none of them overlooked.

        A listing that runs while others append may show an entry and miss the one before it.
        Entries are appended in order, so a second listing shows all below the newest of the first;
        a gap that remains is an entry that somebody moved aside.
        """
        seen = self._revisions(model, alias)
        if seen == list(range(1, len(seen) + 1)):
            return seen
        return [revision for revision in self._revisions(model, alias) if revision <= seen[-1]]

    def _read(self, model: str, alias: str, revision: int) -> Decision:
        path = layout.decision_path(model, alias, revision)
        if path in self._known:
            return self._known[path]
        decision = decode_record(self._store.get(path), Decision, path, "decision")
        if (decision.model, decision.alias, decision.revision) != (model, alias, revision):
            raise BadData(
                f"{path} is not the decision of its name",
                f"it is revision {decision.revision} of {decision.model}@{decision.alias}",
                "Restore the object from a backup, or move it out of that folder (keep a copy).",
            )
        self._known[path] = decision
        return decision
