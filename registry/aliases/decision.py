"""The decision log: revision n+1 is an object created if absent. It is the truth about aliases."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from registry.artifacts import layout
from registry.artifacts.manifest import Reference
from registry.artifacts.records import decode_record, encode_record
from registry.artifacts.store.once import create_once
from registry.artifacts.store.protocol import Store
from registry.crashpoints import crashpoint
from registry.errors import UsageError

Action = Literal["publish", "reject", "promote", "rollback"]
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


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

    def entries(self, model: str, alias: str) -> list[Decision]:
        """Every decision about an alias, oldest first.

        Raises:
            BadData: an entry is not a decision; names it.
        """
        check_alias(model, alias)
        return [self._read(path) for path in self._store.list(f"decisions/{model}/{alias}/")]

    def newest(self, model: str, alias: str) -> Decision | None:
        """The last decision about an alias, or None before the first."""
        check_alias(model, alias)
        paths = list(self._store.list(f"decisions/{model}/{alias}/"))
        return self._read(paths[-1]) if paths else None

    def names(self) -> list[tuple[str, str]]:
        """Every (model, alias) that has a decision, sorted."""
        paths = (path.split("/") for path in self._store.list("decisions/"))
        return sorted({(parts[1], parts[2]) for parts in paths})

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
        """
        while True:
            entries = self.entries(model, alias)
            draft = decide(entries)
            if draft is None:
                return None
            newest = entries[-1].revision if entries else 0
            decision = msgspec.structs.replace(draft, revision=max(newest, above) + 1)
            path = layout.decision_path(model, alias, decision.revision)
            crashpoint("publish.before_decision")
            if create_once(self._store, path, encode_record(decision)).mine:
                crashpoint("publish.after_decision")
                return decision

    def _read(self, path: str) -> Decision:
        decision = decode_record(self._store.get(path), Decision, path, "decision")
        check_alias(decision.model, decision.alias)
        return decision
