"""Everything that exists, for views: one listing, each record decoded once, none verified.

What acts on an artifact reads it through `fetch`, which verifies digests. A view has to be quick
over thousands and to go on past a damaged record, so it reads here, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, TypeVar

import msgspec

from registry.artifacts.key import Recipe
from registry.artifacts.layout import lineage_path
from registry.artifacts.manifest import Manifest
from registry.artifacts.retract import is_retracted, read_epochs
from registry.artifacts.store.protocol import Store
from registry.decoders import decoder
from registry.errors import NotFound

Record = TypeVar("Record", bound=msgspec.Struct)

#: Requests at once to a store that is not a folder.
_AT_ONCE = 32
RETRACTED = "retracted"
TAINTED = "made from what was retracted"


def read_many(store: Store, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """The objects at `paths` with their bytes, in order; one that is gone is left out."""
    wanted = list(paths)
    if not wanted or store.local_path(wanted[0]) is not None:
        found: Iterable[bytes | None] = (_get(store, path) for path in wanted)
        yield from _present(wanted, found)
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from _present(wanted, pool.map(lambda path: _get(store, path), wanted))


def _present(paths: Iterable[str], found: Iterable[bytes | None]) -> Iterator[tuple[str, bytes]]:
    return ((path, data) for path, data in zip(paths, found, strict=True) if data is not None)


def _get(store: Store, path: str) -> bytes | None:
    try:
        return store.get(path)
    except NotFound:
        return None


def decode_or_none(data: bytes, kind: type[Record]) -> Record | None:
    """The record in `data`, or None where it is damaged."""
    try:
        return decoder(kind).decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class Catalog:
    """The artifacts of one environment as they were at the first question."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._known: dict[str, Manifest | None] = {}
        self._states: dict[str, str] = {}

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Where every manifest lies, sorted."""
        return tuple(path for path in self.store.list("manifests/") if path.endswith(".json"))

    @cached_property
    def epochs(self) -> Mapping[str, int]:
        """How often each base key was retracted."""
        return read_epochs(self.store)

    @cached_property
    def _by_digits(self) -> dict[str, str]:
        return {digits_of(path): path for path in self.paths}

    def everything(self) -> dict[str, Manifest]:
        """Every artifact that can be read, by the path of its manifest."""
        self.prefetch(self.paths)
        return {path: known for path in self.paths if (known := self._known[path]) is not None}

    def prefetch(self, paths: Iterable[str]) -> None:
        """Read the manifests at `paths` that are not known yet, many at once where that helps."""
        self._read(dict.fromkeys(path for path in paths if path not in self._known))

    @property
    def damaged(self) -> list[str]:
        """The manifests, of those read so far, that are gone or cannot be read."""
        return sorted(path for path, manifest in self._known.items() if manifest is None)

    def at(self, path: str) -> Manifest | None:
        """The manifest at `path`; None where it is gone or damaged.

        Where a model was released from another environment, what it was made from is here as a
        copy of the record alone.
        """
        if path not in self._known:
            self._read([path])
            if self._known[path] is None and (data := _get(self.store, lineage_path(path))):
                self._known[path] = decode_or_none(data, Manifest)
        return self._known[path]

    def find(self, key: str) -> str:
        """Where the manifest lies of the artifact whose key starts with `key` (16 digits or more).

        Raises:
            NotFound: there is none.
        """
        path = self._by_digits.get(key[:16])
        manifest = self.at(path) if path else None
        if path is None or (manifest and not manifest.key.startswith(key)):
            raise NotFound(
                f"there is no artifact {key} in {self.store.url}",
                "",
                "`penstock status RUN` lists keys; check PENSTOCK_STORE and PENSTOCK_ENVIRONMENT.",
            )
        return path

    def state(self, path: str) -> str:
        """RETRACTED, TAINTED, or nothing where the artifact and all it was made from stand."""
        if not self.epochs:
            return ""
        if path not in self._states:
            self._states[path] = ""  # An artifact cannot be made from itself, whatever is written.
            self._states[path] = self._state(self.at(path))
        return self._states[path]

    def _state(self, manifest: Manifest | None) -> str:
        if manifest is None:
            return ""
        if is_retracted(manifest.recipe(), self.epochs):
            return RETRACTED
        return TAINTED if any(self.state(ref.path) for ref in manifest.references) else ""

    def _read(self, paths: Iterable[str]) -> None:
        wanted = list(paths)
        self._known.update(dict.fromkeys(wanted))
        for path, data in read_many(self.store, wanted):
            self._known[path] = decode_or_none(data, Manifest)


def digits_of(path: str) -> str:
    """The first 16 digits of the key, which the name of a manifest ends with."""
    return path.removesuffix(".json").rpartition("--")[2]


def title(recipe: Recipe | Manifest, kind: str = "") -> str:
    """How people read an artifact: "model flights 2013-02-05 lightgbm".

    Args:
        kind: the step's kind in place of the family.
    """
    words: list[Any] = [kind or recipe.family, recipe.name, recipe.date]
    return " ".join(str(word) for word in [*words, recipe.parameters.get("algorithm")] if word)
