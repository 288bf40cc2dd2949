"""What exists: one listing for each family and name, read once and verified on use."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Mapping

from registry.artifacts import layout
from registry.artifacts.fetch import read_ancestor, read_manifest
from registry.artifacts.key import Recipe
from registry.artifacts.manifest import Manifest, Reference
from registry.artifacts.retract import is_retracted, read_epochs, spec_of
from registry.artifacts.store.protocol import Store
from registry.errors import BadData, NotFound


class Index:
    """The artifacts of one environment as this process knows them. Shared between threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._paths: dict[tuple[str, str], set[str]] = {}
        self._manifests: dict[str, Manifest] = {}
        self._epochs: Mapping[str, int] | None = None
        self._lock = threading.Lock()

    @property
    def epochs(self) -> Mapping[str, int]:
        """How often each base key was retracted."""
        with self._lock:
            if self._epochs is None:
                self._epochs = read_epochs(self._store)
            return self._epochs

    def current(self, recipe: Recipe) -> Recipe:
        """`recipe` (of epoch 0) at the epoch to which retractions took it."""
        return recipe.at_epoch(self.epochs.get(recipe.key, 0)) if self.epochs else recipe

    def has(self, recipe: Recipe) -> bool:
        """Whether the artifact of `recipe` was committed, as far as this process knows."""
        return layout.manifest_path(recipe) in self._listing(recipe.family, recipe.name)

    def paths(self, family: str, name: str) -> list[str]:
        """Where the manifests of a family and name lie, sorted."""
        return sorted(self._listing(family, name))

    def add(self, path: str, manifest: Manifest) -> None:
        """Note what was just committed or found at `path`."""
        with self._lock:
            self._manifests[path] = manifest
        self._listing(manifest.family, manifest.name).add(path)

    def manifest(self, path: str, key: str | None = None) -> Manifest:
        """The manifest at `path`, verified when it is first read.

        Raises:
            NotFound, BadData, Corrupt.
        """
        known = self._manifests.get(path)
        if known is None:
            known = read_manifest(self._store, path, key)
            with self._lock:
                self._manifests[path] = known
        return known

    def readable(self, paths: Iterable[str]) -> list[Manifest]:
        """The manifests at `paths` without those that are damaged: for hints, not for work."""
        found = []
        for path in paths:
            with contextlib.suppress(BadData, NotFound):
                found.append(self.manifest(path))
        return found

    def manifest_of(self, recipe: Recipe) -> Manifest:
        """The verified manifest of `recipe`."""
        return self.manifest(layout.manifest_path(recipe), recipe.key)

    def is_withdrawn(self, path: str) -> bool:
        """Whether the artifact at `path`, or anything it was made from, was retracted."""
        if not self.epochs:
            return False
        seen: set[str] = set()
        stack = [path]
        while stack:
            recipe, inputs = self._made_from(stack.pop())
            if is_retracted(recipe, self.epochs):
                return True
            fresh = {reference.path for reference in inputs} - seen
            seen |= fresh
            stack += fresh
        return False

    def _made_from(self, path: str) -> tuple[Recipe, list[Reference]]:
        """The recipe and inputs of an artifact; those of a damaged manifest from an attempt."""
        try:
            manifest = self._manifests.get(path) or read_ancestor(self._store, path)
            self._manifests[path] = manifest
        except (BadData, NotFound):
            spec = spec_of(self._store, path)
            return spec.recipe.recipe(), spec.inputs()
        return manifest.recipe(), manifest.references

    def forget(self) -> None:
        """List again at the next question, in a fork; manifests and epochs, once read, stay."""
        self._paths = {}
        self._lock = threading.Lock()  # A thread that is not in the fork may hold the other.

    def _listing(self, family: str, name: str) -> set[str]:
        with self._lock:
            known = self._paths.get((family, name))
            if known is None:
                prefix = layout.manifests_prefix(family, name)
                known = self._paths[family, name] = set(self._store.list(prefix))
            return known
