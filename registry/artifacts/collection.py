"""Records of a collection: what is to be deleted, decided a day before; its fate; its end.

Between plan and deletion nothing that is planned can go live, and before deleting everything is
looked at again. So a decision and a deletion that do not know of each other cannot meet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import msgspec

from registry.artifacts import layout
from registry.artifacts.manifest import Reference
from registry.artifacts.records import decode_record, encode_record
from registry.artifacts.store.once import create_once, write_id
from registry.artifacts.store.protocol import Store
from registry.errors import NotFound, Refused

_RECORD = re.compile(r"collections/(?P<name>[^/.]+)(\.(?P<what>fate|done))?\.json")


class Doomed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An artifact that nothing holds: its manifest and the files that the manifest names."""

    path: str
    key: str
    family: str
    version: str
    data: str
    files: list[str]
    bytes: int


class Collection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A plan. `created` and `due` are Unix seconds; `orphans` are files that no manifest names."""

    name: str
    who: str
    created: float
    due: float
    artifacts: list[Doomed]
    orphans: list[str]
    write_id: str


class Fate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of a plan: decided once, by whoever creates this record first."""

    fate: Literal["begun", "cancelled"]
    who: str
    when: float
    write_id: str


class Done(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The end of a collection: how much was deleted, and which manifests were spared, by path."""

    artifacts: int
    orphans: int
    bytes: int
    spared: list[str]
    when: float


def pending(store: Store) -> list[Collection]:
    """The collections that are planned or begun, oldest first."""
    found: dict[str, set[str]] = {}
    for match in map(_RECORD.fullmatch, store.list("collections/")):
        if match:
            found.setdefault(match["name"], set()).add(match["what"] or "")
    names = (name for name, kinds in sorted(found.items()) if "" in kinds and "done" not in kinds)
    return [read(store, name) for name in names if not _is_cancelled(store, name)]


def read(store: Store, name: str) -> Collection:
    """The plan of that name. Raises NotFound."""
    path = layout.collection_path(name)
    return decode_record(store.get(path), Collection, path, "plan of a collection")


def _is_cancelled(store: Store, name: str) -> bool:
    path = layout.collection_path(name, "fate")
    try:
        return decode_record(store.get(path), Fate, path, "fate").fate == "cancelled"
    except NotFound:
        return False


def record(store: Store, collection: Collection) -> None:
    """Keep a plan."""
    create_once(store, layout.collection_path(collection.name), encode_record(collection))


def begin(store: Store, name: str, who: str, now: float) -> bool:
    """Begin to delete, or go on; False when the plan was cancelled."""
    return _settle(store, name, Fate("begun", who, now, write_id())).fate == "begun"


def cancel(store: Store, name: str, who: str, now: float) -> None:
    """Withdraw a plan.

    Raises:
        NotFound: there is no such plan.
        Refused: deleting has begun.
    """
    read(store, name)
    if _settle(store, name, Fate("cancelled", who, now, write_id())).fate == "begun":
        raise Refused(f"the collection {name} cannot be withdrawn", "deleting has begun")


def _settle(store: Store, name: str, fate: Fate) -> Fate:
    path = layout.collection_path(name, "fate")
    return decode_record(create_once(store, path, encode_record(fate)).data, Fate, path, "fate")


def finish(store: Store, name: str, done: Done) -> None:
    """Record that nothing of a collection is left to delete."""
    create_once(store, layout.collection_path(name, "done"), encode_record(done))


def refuse_collected(store: Store, reference: Reference) -> None:
    """Raise Refused when an artifact that is to go live was collected, or is planned to be."""
    short = reference.key[:16]
    for plan in pending(store):
        if any(doomed.key == reference.key for doomed in plan.artifacts):
            raise Refused(
                f"{short} may not go live",
                f"the collection {plan.name} is about to delete it",
                f"`penstock gc --cancel {plan.name}` withdraws that plan, unless it has begun.",
            )
    if any(_names(store)) and not _is_there(store, reference.path):
        raise Refused(
            f"{short} may not go live",
            "it was collected: its files are gone",
            "Run its use case for that date again, or choose a later revision.",
        )


def _names(store: Store) -> Iterator[str]:
    yield from store.list("collections/")


def _is_there(store: Store, path: str) -> bool:
    try:
        store.size(path)
    except NotFound:
        return False
    return True
