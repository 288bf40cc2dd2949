"""What exists in an environment, and what of it is held by something."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from registry.artifacts import layout
from registry.artifacts.attempt import Attempt, is_record, read_attempt
from registry.artifacts.fetch import read_manifest
from registry.artifacts.manifest import Manifest
from registry.artifacts.store.protocol import Store
from registry.errors import BadData, NotFound


@dataclass(frozen=True)
class Holdings:
    """Everything of an environment, read once.

    `manifests` by path; `damaged` are manifests that cannot be read, and are never collected;
    `attempts` by (first 16 digits of the key, number).
    """

    manifests: dict[str, Manifest]
    damaged: list[str] = field(default_factory=list)
    attempts: dict[tuple[str, int], Attempt] = field(default_factory=dict)

    def inputs(self, path: str) -> set[str]:
        """The manifests that an artifact was made from; of a damaged one, by its attempts."""
        if path in self.manifests:
            return {reference.path for reference in self.manifests[path].references}
        short = short_key(path)
        specs = (a.spec for (key, _), a in self.attempts.items() if key == short)
        return {reference.path for spec in specs for reference in spec.inputs()}

    def under_way(self, now: float) -> set[str]:
        """What attempts that may still commit make, and read."""
        found: set[str] = set()
        for attempt in self.attempts.values():
            if attempt.deadline >= now:
                found.add(layout.manifest_path(attempt.spec.recipe.recipe()))
                found |= {reference.path for reference in attempt.spec.inputs()}
        return found

    def closure(self, roots: Iterable[str]) -> set[str]:
        """`roots` and everything that they were made from."""
        seen: set[str] = set()
        stack = [*roots, *self.damaged]
        while stack:
            path = stack.pop()
            if path not in seen:
                seen.add(path)
                stack += self.inputs(path)
        return seen

    def made_at(self, manifest: Manifest) -> float | None:
        """When an artifact was made, in Unix seconds, as far as anything tells."""
        ended = manifest.timings.get("ended")
        if ended is not None:
            return ended
        attempt = self.attempts.get((manifest.key[:16], manifest.producer.attempt))
        return attempt.created if attempt else None


def read_holdings(store: Store) -> Holdings:
    """Read every manifest (verified) and every attempt."""
    held = Holdings({})
    for path in store.list("manifests/"):
        try:
            held.manifests[path] = read_manifest(store, path)
        except BadData:
            held.damaged.append(path)
        except NotFound:  # Another collection was quicker.
            continue
    for path in store.list("attempts/"):
        if is_record(path):
            try:
                attempt = read_attempt(store, path)
            except BadData:
                continue  # Its files stay: nobody knows until when it may commit.
            held.attempts[attempt.key[:16], attempt.number] = attempt
    return held


def short_key(path: str) -> str:
    """The 16 digits of the key in the name of a manifest."""
    return path.removesuffix(".json").rpartition("--")[2]
