"""The first size of a step: what earlier artifacts of the same kind needed, or what is declared.

Manifests record the peak of the job that made them, and how much it read. What was killed for memory
on the way there left an attempt that says so, and is believed before any peak: a runner may count
memory in another way than the kernel's peak does. The rule is in `pipelines.needs`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from pipelines.index import Index
from pipelines.needs import History, Need
from pipelines.runners.sizes import LADDER, next_size
from pipelines.runners.states import Kind
from registry.artifacts.attempt import Attempt, JobSpec, attempts_of, end_of
from registry.artifacts.key import Recipe
from registry.artifacts.manifest import Manifest
from registry.artifacts.store.protocol import Store
from registry.errors import BadData, NotFound

#: Manifests that are looked at, newest first, to find those that are believed.
LOOKED_AT = 20
#: What tells steps of one family and name apart that need different amounts.
TELLING = ("algorithm", "horizon")

Group = tuple[str, str, tuple[str, ...]]


class Sizing:
    """First sizes for one session. Each group of steps is looked up once. Shared by threads."""

    def __init__(self, store: Store, index: Index) -> None:
        self._store = store
        self._index = index
        self._histories: dict[Group, History] = {}
        self._lock = threading.Lock()

    def first(self, recipe: Recipe, declared: str, input_bytes: float | None = None) -> str:
        """The size of the first attempt at `recipe`, whose use case declares `declared`.

        Args:
            input_bytes: what the job will read; None while its inputs are not there yet.
        """
        if declared not in LADDER:  # a GPU is not a matter of memory
            return declared
        with self._lock:
            return self._history(group_of(recipe)).suggested(input_bytes) or declared

    def learn(self, recipe: Recipe, size: str, input_bytes: float | None = None) -> None:
        """Take in that `size` was needed: the size below was too small."""
        with self._lock:
            self._history(group_of(recipe)).learn(Need(0.0, input_bytes, size))

    def input_bytes(self, spec: JobSpec) -> float | None:
        """How much a job will read, by the manifests of its inputs; None where one cannot be read."""
        try:
            inputs = [self._index.manifest(reference.path) for reference in spec.inputs()]
        except (BadData, NotFound):  # a hint is not worth a failure
            return None
        return float(sum(file.size for manifest in inputs for file in manifest.files))

    def _history(self, group: Group) -> History:
        if group not in self._histories:
            self._histories[group] = History(self._needs(group))
        return self._histories[group]

    def _needs(self, group: Group) -> Iterator[Need]:
        """The needs of the newest artifacts of a group, newest first."""
        family, name, _ = group
        for path in reversed(self._index.paths(family, name)[-LOOKED_AT:]):
            for manifest in self._index.readable([path]):
                peak = manifest.resources.get("peak_rss_mb")
                if peak and group_of(manifest.recipe()) == group:
                    read = manifest.resources.get("input_bytes") or None
                    yield Need(peak, read, self._least_for(manifest))

    def _least_for(self, manifest: Manifest) -> str | None:
        """The size above the largest that was too small for an artifact."""
        if manifest.producer.attempt == 1:
            return None
        try:
            attempts = attempts_of(self._store, manifest.key)
        except BadData:  # a hint is not worth a failure
            return None
        sizes = [next_size(attempt.size) for attempt in attempts if self._was_too_small(attempt)]
        return max(filter(None, sizes), key=LADDER.index, default=None)

    def _was_too_small(self, attempt: Attempt) -> bool:
        try:
            return attempt.size in LADDER and end_of(self._store, attempt).kind == Kind.OOM
        except (NotFound, BadData):
            return False


def group_of(recipe: Recipe) -> Group:
    """Which steps are sized together."""
    told = tuple(str(recipe.parameters.get(name, "")) for name in TELLING)
    return recipe.family, recipe.name, told
