"""Lineage: what an artifact was made from, what was made from it, and the decisions about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from registry.aliases.decision import Decision
from registry.artifacts.catalog import Catalog, decode_or_none, read_many, title
from registry.artifacts.manifest import Manifest


class Edge(NamedTuple):
    """A step of lineage: the role in which the artifact or decision at `path` is related."""

    role: str
    path: str


#: From a path to what it was made from, or to what uses it.
Step = Callable[[str], list[Edge]]


@dataclass
class Branch:
    """Related things of one role and one kind, and what lies beyond them.

    `again` tells that all of them stand further up in the tree already, with what lies beyond.
    """

    role: str
    paths: list[str]
    branches: list[Branch] = field(default_factory=list)
    again: bool = False


class Lineage:
    """The references among the artifacts of a catalog, both ways."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def inputs(self, path: str) -> list[Edge]:
        """What the artifact at `path` was made from."""
        manifest = self._catalog.at(path)
        return list(edges_of(manifest)) if manifest else []

    def uses(self, path: str) -> list[Edge]:
        """What was made from the artifact at `path`, then the decisions that name it."""
        return self._uses.get(path, [])

    @cached_property
    def decisions(self) -> dict[str, Decision]:
        """Every decision, by its path."""
        found = read_many(self._catalog.store, self._catalog.store.list("decisions/"))
        read = ((path, decode_or_none(data, Decision)) for path, data in found)
        return {path: decision for path, decision in read if decision is not None}

    @cached_property
    def _uses(self) -> dict[str, list[Edge]]:
        """The reverse of all references, from one listing."""
        uses: dict[str, list[Edge]] = {}
        for user, manifest in self._catalog.everything().items():
            for role, path in edges_of(manifest):
                uses.setdefault(path, []).append(Edge(role, user))
        for user, decision in self.decisions.items():
            uses.setdefault(decision.candidate.path, []).append(Edge("candidate", user))
            if decision.evaluation:
                uses.setdefault(decision.evaluation.path, []).append(Edge("evaluation", user))
        return uses

    def kind(self, path: str) -> str:
        """What is alike is of one kind, and shown in one line. Each decision stands for itself."""
        manifest = None if path in self.decisions else self._catalog.at(path)
        return path if manifest is None else title_of_all([manifest])


def edges_of(manifest: Manifest) -> Iterator[Edge]:
    """The inputs of an artifact with their roles, in the order of its recipe."""
    roles = [
        (role, key)
        for role, keys in manifest.inputs.items()
        for key in ([keys] if isinstance(keys, str) else keys)
    ]
    paths = {reference.key: reference.path for reference in manifest.references}
    return (Edge(role, paths[key]) for role, key in roles if key in paths)


def title_of_all(manifests: list[Manifest]) -> str:
    """The title of artifacts that differ in their dates at most, without the date."""
    first = manifests[0]
    return title(first).replace(f" {first.date}", "", 1) if first.date else title(first)


def tree(
    lineage: Lineage, start: str, step: Step, *, depth: int | None = None, each: bool = False
) -> Branch:
    """What lies beyond `start`, as far as `depth` steps.

    Args:
        each: a branch for every artifact; otherwise those of one role and kind share one.
    """
    root = Branch("", [start])
    seen = {start}
    level, left = [root], depth
    while level and left != 0:  # Breadth first: what is shown twice is expanded nearest to `start`.
        level = [found for branch in level for found in _grow(lineage, branch, step, each, seen)]
        left = None if left is None else left - 1
    return root


def _grow(lineage: Lineage, branch: Branch, step: Step, each: bool, seen: set[str]) -> list[Branch]:
    """Add what lies beyond a branch; returns those of its branches that are new to the tree."""
    branch.branches = _beyond(lineage, branch.paths, step, each)
    for found in branch.branches:
        found.again = seen.issuperset(found.paths)
        seen.update(found.paths)
    return [found for found in branch.branches if not found.again]


def _beyond(lineage: Lineage, paths: Iterable[str], step: Step, each: bool) -> list[Branch]:
    groups: dict[tuple[str, str], dict[str, None]] = {}
    for path in paths:
        for role, related in step(path):
            kind = related if each else lineage.kind(related)
            groups.setdefault((role, kind), {})[related] = None
    return [Branch(role, list(found)) for (role, _), found in groups.items()]
