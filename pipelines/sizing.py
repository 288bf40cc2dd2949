"""The first size of a step: what earlier artifacts of the same kind needed, or what is declared.

Manifests record the peak of the job that made them. What was killed for memory on the way there
left an attempt that says so, and is believed before any peak: a runner may count memory in another
way than the kernel's peak does.
"""

from __future__ import annotations

import threading

from pipelines.index import Index
from pipelines.runners.sizes import LADDER, SIZES, fitting_size, next_size
from pipelines.runners.states import Kind
from registry.artifacts.attempt import Attempt, attempts_of, end_of
from registry.artifacts.key import Recipe
from registry.artifacts.manifest import Manifest
from registry.artifacts.store.protocol import Store
from registry.errors import BadData, NotFound

#: A size must allow this much more than the largest peak seen: days differ.
HEADROOM = 1.25
#: Manifests that are believed, newest first, and those that are looked at to find them.
BELIEVED, LOOKED_AT = 5, 20
#: What tells steps of one family and name apart that need different amounts.
TELLING = ("algorithm", "horizon")

_Group = tuple[str, str, tuple[str, ...]]


class Sizing:
    """First sizes for one session. Each group of steps is looked up once. Shared by threads."""

    def __init__(self, store: Store, index: Index) -> None:
        self._store = store
        self._index = index
        self._sizes: dict[_Group, str | None] = {}
        self._lock = threading.Lock()

    def first(self, recipe: Recipe, declared: str) -> str:
        """The size of the first attempt at `recipe`, whose use case declares `declared`."""
        if declared not in LADDER:  # a GPU is not a matter of memory
            return declared
        group = _group(recipe)
        with self._lock:
            if group not in self._sizes:
                self._sizes[group] = self._size_of(group)
            return self._sizes[group] or declared

    def learn(self, recipe: Recipe, size: str) -> None:
        """Take in that `size` was needed: the size below was too small."""
        group = _group(recipe)
        with self._lock:
            self._sizes[group] = larger(self._sizes.get(group) or size, size)

    def _size_of(self, group: _Group) -> str | None:
        """The size that the group's history asks for; None without any."""
        manifests = self._newest(group)
        peaks = [peak for each in manifests if (peak := each.resources.get("peak_rss_mb"))]
        if not peaks:
            return None
        size = fitting_size(HEADROOM * max(peaks))
        for manifest in manifests:
            if manifest.producer.attempt > 1:
                size = larger(size, self._least_for(manifest.key) or size)
        return size

    def _newest(self, group: _Group) -> list[Manifest]:
        family, name, _ = group
        found: list[Manifest] = []
        for path in reversed(self._index.paths(family, name)[-LOOKED_AT:]):
            manifests = self._index.readable([path])
            found += [each for each in manifests if _group(each.recipe()) == group]
            if len(found) == BELIEVED:
                break
        return found

    def _least_for(self, key: str) -> str | None:
        """The size above the largest that was too small for an artifact."""
        try:
            too_small = [a.size for a in attempts_of(self._store, key) if self._was_too_small(a)]
        except BadData:  # a hint is not worth a failure
            return None
        sizes = [size for size in map(next_size, too_small) if size]
        return max(sizes, key=LADDER.index, default=None)

    def _was_too_small(self, attempt: Attempt) -> bool:
        try:
            return attempt.size in LADDER and end_of(self._store, attempt).kind == Kind.OOM
        except NotFound:
            return False


def larger(one: str, other: str) -> str:
    """The larger of two sizes; the first where they cannot be compared."""
    if one not in LADDER or other not in LADDER:
        return one
    return max(one, other, key=lambda size: SIZES[size].memory_mb)


def _group(recipe: Recipe) -> _Group:
    told = tuple(str(recipe.parameters.get(name, "")) for name in TELLING)
    return recipe.family, recipe.name, told
