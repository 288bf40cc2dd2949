"""Attempt records: who tries to make an artifact, created if absent, one number after the other.

Whoever loses the race for a number adopts the winner's attempt. Re-attachment, sizes, orphans and
collection stand on these records, not on the memory of a scheduler.
"""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec

from registry.artifacts import layout
from registry.artifacts.key import Recipe
from registry.artifacts.manifest import Reference
from registry.artifacts.records import decode_record, encode_record
from registry.artifacts.store.once import create_once, write_id
from registry.artifacts.store.protocol import Store
from registry.crashpoints import crashpoint

_RECORD = re.compile(r"attempts/[0-9a-f]{64}/[0-9]{4,}\.json")


class RecipeRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A recipe as it is written down."""

    family: str
    name: str
    version: int
    parameters: dict[str, Any]
    inputs: dict[str, str | list[str]]
    externals: dict[str, str]
    date: str | None
    epoch: int

    @classmethod
    def of(cls, recipe: Recipe) -> RecipeRecord:
        """The record of `recipe`, whose key it keeps."""
        return cls(
            recipe.family,
            recipe.name,
            recipe.version,
            recipe.significant,
            {k: v if isinstance(v, str) else list(v) for k, v in recipe.inputs.items()},
            dict(recipe.externals),
            recipe.date,
            recipe.epoch,
        )

    def recipe(self) -> Recipe:
        """The recipe of this record."""
        inputs = {k: v if isinstance(v, str) else tuple(v) for k, v in self.inputs.items()}
        return Recipe(
            self.family,
            self.name,
            self.version,
            self.parameters,
            inputs,
            self.externals,
            self.date,
            self.epoch,
        )


class JobSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a job needs to know: its kind (`jobs/<kind>.py`), the recipe, and where inputs lie."""

    kind: str
    recipe: RecipeRecord
    references: dict[str, Reference | list[Reference]]

    def inputs(self) -> list[Reference]:
        """The references of all roles, in their order."""
        values = self.references.values()
        return [ref for value in values for ref in (value if isinstance(value, list) else [value])]


class Attempt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One try at one key. `deadline` and `created` are Unix seconds; after it no commit.

    `step` is how people read what it is for: "train flights 2013-06-30 lightgbm".
    """

    key: str
    number: int
    kind: str
    size: str
    runner: str
    host: str
    run: str
    deadline: float
    created: float
    write_id: str
    spec: JobSpec
    step: str = ""

    @property
    def path(self) -> str:
        """Where its record lies, below the root of the environment."""
        return layout.attempt_path(self.key, self.number)


class AttemptEnd(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an attempt ended: `kind` is "committed" or a failure kind of the runners."""

    kind: str
    reason: str
    exit_code: int | None
    usage: dict[str, float]
    observed: float


def read_attempt(store: Store, path: str) -> Attempt:
    """The attempt recorded at `path`. Raises NotFound, BadData."""
    return decode_record(store.get(path), Attempt, path, "attempt record")


def attempts_of(store: Store, key: str) -> list[Attempt]:
    """Every attempt at `key`, in the order of their numbers."""
    found = (read_attempt(store, p) for p in store.list(f"attempts/{key}/") if is_record(p))
    return sorted(found, key=lambda attempt: attempt.number)


def is_record(path: str) -> bool:
    """Whether `path` is that of an attempt's record, rather than of its log, end, or a copy."""
    return _RECORD.fullmatch(path) is not None


def open_attempt(
    store: Store, spec: JobSpec, number: int, *, size: str, runner: str, host: str, run: str,
    timeout: float, step: str = "",
) -> Attempt:  # fmt: skip
    """Record the attempt `number`, or adopt the one that another writer recorded first.

    Args:
        timeout: seconds from now until the attempt may no longer commit.
    """
    now = time.time()
    key = spec.recipe.recipe().key
    mine = Attempt(
        key, number, spec.kind, size, runner, host, run, now + timeout, now, write_id(), spec, step
    )
    crashpoint("attempt.before_create")
    created = create_once(store, mine.path, encode_record(mine))
    crashpoint("attempt.after_create")
    return decode_record(created.data, Attempt, mine.path, "attempt record")


def close_attempt(store: Store, attempt: Attempt, end: AttemptEnd, log: bytes) -> None:
    """Keep how `attempt` ended and the last part of its log beside its record, if not kept yet."""
    if log:
        create_once(store, layout.attempt_log_path(attempt.key, attempt.number), log)
    create_once(store, layout.attempt_end_path(attempt.key, attempt.number), encode_record(end))


def end_of(store: Store, attempt: Attempt) -> AttemptEnd:
    """How `attempt` ended. Raises NotFound while nobody has observed its end."""
    path = layout.attempt_end_path(attempt.key, attempt.number)
    return decode_record(store.get(path), AttemptEnd, path, "record of an end")
