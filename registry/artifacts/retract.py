"""Retraction: an append-only record that adds an epoch to a key.

The withdrawn artifact stays where it is; its recipe gets a new key, and so does everything below
it, so that the next run makes them again.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping

import msgspec

from registry.artifacts import layout
from registry.artifacts.attempt import JobSpec, is_record, read_attempt
from registry.artifacts.fetch import read_manifest
from registry.artifacts.key import Recipe
from registry.artifacts.records import encode_record
from registry.artifacts.store.once import create_once, write_id
from registry.artifacts.store.protocol import Store
from registry.errors import BadData, NotFound, Refused, UsageError

_RECORD = re.compile(r"retractions/(?P<base_key>[0-9a-f]{64})/(?P<epoch>[0-9]{4})\.json")


class Retraction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who withdrew the artifact `key`, why and when; recipes of `base_key` go to `epoch`."""

    key: str
    base_key: str
    epoch: int
    who: str
    why: str
    when: str
    write_id: str


def read_epochs(store: Store) -> Mapping[str, int]:
    """How often each base key was retracted, from one listing."""
    epochs: dict[str, int] = {}
    for match in map(_RECORD.fullmatch, store.list("retractions/")):
        if match:  # Other files, such as copies made by hand, do not count.
            base_key, epoch = match["base_key"], int(match["epoch"])
            epochs[base_key] = max(epochs.get(base_key, 0), epoch)
    return epochs


def is_retracted(recipe: Recipe, epochs: Mapping[str, int]) -> bool:
    """Whether the artifact of `recipe` was withdrawn."""
    return epochs.get(recipe.base_key, 0) > recipe.epoch


def retract(store: Store, key_prefix: str, *, who: str, why: str) -> Retraction:
    """Withdraw the artifact whose key starts with `key_prefix` (16 digits or more).

    Raises:
        NotFound: no such artifact.
        UsageError: the prefix is too short, or no reason is given.
        Refused: it was withdrawn before.
    """
    if not why.strip():
        raise UsageError("a retraction needs a reason", "", "Add --why TEXT.")
    recipe = find_recipe(store, key_prefix)
    epoch = recipe.epoch + 1
    record = Retraction(recipe.key, recipe.base_key, epoch, who, why, _now(), write_id())
    path = layout.retraction_path(record.base_key, epoch)
    if not create_once(store, path, encode_record(record)).mine:
        raise Refused(
            f"{recipe.key[:16]} was retracted before", f"see {path}", "Run the pipeline again."
        )
    return record


def find_recipe(store: Store, key_prefix: str) -> Recipe:
    """The recipe of the one artifact whose key starts with `key_prefix`.

    It comes from the manifest or, where that is damaged, from the attempts.

    Raises:
        NotFound, UsageError.
    """
    path = find_manifest_path(store, key_prefix)
    try:
        recipe = read_manifest(store, path).recipe()
    except BadData:
        recipe = spec_of(store, path).recipe.recipe()
    if not recipe.key.startswith(key_prefix):
        raise NotFound(
            f"there is no artifact {key_prefix} in {store.url}", f"there is one {recipe.key}"
        )
    return recipe


def find_manifest_path(store: Store, key_prefix: str) -> str:
    """Where the manifest lies of the artifact whose key starts with `key_prefix`."""
    if len(key_prefix) < 16:
        raise UsageError(f"{key_prefix!r} is too short for a key", "at least 16 digits are needed")
    ending = f"--{key_prefix[:16]}.json"
    for path in store.list("manifests/"):
        if path.endswith(ending):
            return path
    raise NotFound(
        f"there is no artifact {key_prefix[:16]} in {store.url}",
        "",
        "`penstock status RUN` lists keys; check PENSTOCK_STORE and PENSTOCK_ENVIRONMENT.",
    )


def spec_of(store: Store, manifest_path: str) -> JobSpec:
    """The specification from which the artifact was made, read from one of its attempts.

    Raises:
        NotFound: it has no attempt that can be read.
    """
    short = manifest_path.removesuffix(".json").rpartition("--")[2]
    for path in store.list("attempts/"):
        if path.startswith(f"attempts/{short}") and is_record(path):
            try:
                return read_attempt(store, path).spec
            except BadData:
                continue  # Any other attempt knows the recipe as well.
    raise NotFound(
        f"the recipe of {short} is lost", "its manifest is damaged and it has no attempt record"
    )


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
