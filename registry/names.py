"""What a person writes for an artifact: `flights@champion`, or the first digits of a key."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from registry.errors import NotFound, UsageError

if TYPE_CHECKING:
    from registry.artifacts.catalog import Catalog
    from registry.artifacts.manifest import Manifest, Reference
    from registry.artifacts.store.protocol import Store
    from registry.settings import Settings

#: As many digits of a key as names in the store carry.
SHORT = 16
_DIGITS = re.compile(rf"[0-9a-f]{{{SHORT},64}}")


def is_key(text: str) -> bool:
    """Whether `text` is a key, or its first 16 digits or more."""
    return _DIGITS.fullmatch(text) is not None


def parse_key(text: str) -> str:
    """`text`, if it is a key or enough of one.

    Raises:
        UsageError: it is not.
    """
    if not is_key(text):
        raise UsageError(
            f"{text!r} is not a key",
            f"a key is {SHORT} to 64 of the digits 0-9 and a-f",
            "`penstock status RUN` and `penstock models` show keys.",
        )
    return text


def find_artifact(store: Store, key: str) -> tuple[Reference, Manifest]:
    """The artifact whose key starts with `key`, its manifest verified.

    Raises:
        UsageError: `key` is malformed.
        NotFound: no such artifact.
        Corrupt, BadData: its manifest is damaged.
    """
    from registry.artifacts.fetch import read_manifest
    from registry.artifacts.retract import find_manifest_path

    path = find_manifest_path(store, parse_key(key))
    manifest = read_manifest(store, path)
    if not manifest.key.startswith(key):
        raise NotFound(
            f"there is no artifact {key} in {store.url}",
            f"the one that starts alike is {manifest.key}",
            "Check the digits after the sixteenth.",
        )
    return manifest.reference(path), manifest


def find_named(
    settings: Settings, store: Store, name: str, family: str = "model"
) -> tuple[Reference, Manifest]:
    """The artifact of `family` that `name` means: a key, or an alias with what is live there.

    Raises:
        UsageError: `name` is malformed, or names an artifact of another family.
        NotFound: no such artifact, or nothing is live at the alias.
        Corrupt, BadData: its manifest is damaged.
    """
    from registry.aliases.aliases import open_aliases
    from registry.aliases.decision import parse_alias
    from registry.artifacts.fetch import dereference

    if is_key(name):
        reference, manifest = find_artifact(store, name)
    else:
        about = parse_alias(name)
        reference = open_aliases(settings, store).live(*about)
        manifest = dereference(store, reference)
    check_family(manifest, family)
    return reference, manifest


def check_family(manifest: Manifest, family: str) -> None:
    """Raise UsageError unless the artifact is of `family`."""
    if manifest.family != family:
        raise UsageError(
            f"{manifest.key[:SHORT]} is of the family {manifest.family}",
            f"an artifact of the family {family} is needed here",
            f"`penstock status RUN` shows the keys of each {family}.",
        )


def locate(settings: Settings, catalog: Catalog, name: str) -> str:
    """Where the manifest lies of what `name` means: a key, or an alias with what is live there.

    For views: nothing is verified.

    Raises:
        UsageError: `name` is malformed.
        NotFound: no such artifact, or nothing is live at the alias.
    """
    from registry.aliases.aliases import open_aliases
    from registry.aliases.decision import parse_alias

    if is_key(name):
        return catalog.find(name)
    return open_aliases(settings, catalog.store).live(*parse_alias(name)).path
