"""Why two artifacts differ: down through the inputs that differ, to the causes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pipelines.reasons import changed_inputs, own_differences
from registry.artifacts.catalog import Catalog
from registry.artifacts.manifest import Manifest
from registry.lineage import edges_of, title_of_all


@dataclass
class Cause:
    """One difference, and every artifact on the way in which it was found.

    `chain` holds the roles that lead there from the artifacts compared; empty for themselves.
    `before` and `after` are paths of manifests; one of them is empty where an input is only on one
    side.
    """

    chain: tuple[str, ...]
    what: str
    kind: str
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


class _Pair(NamedTuple):
    """Two artifacts that stand in the same place; None where there is none."""

    before: str | None
    after: str | None


def compare(catalog: Catalog, before: str, after: str) -> list[Cause]:
    """Everything that makes the artifact at the path `after` another than the one at `before`."""
    causes: dict[tuple[tuple[str, ...], str, str], Cause] = {}
    seen: set[_Pair] = set()
    level: list[tuple[tuple[str, ...], _Pair]] = [((), _Pair(before, after))]
    while level:  # Breadth first: a cause is named with the shortest way to it.
        beyond: list[tuple[tuple[str, ...], _Pair]] = []
        for chain, pair in level:
            if pair not in seen:
                seen.add(pair)
                for what in _differences(catalog, pair, bool(chain)):
                    _note(catalog, causes, chain, what, pair)
                beyond += [((*chain, role), deeper) for role, deeper in _below(catalog, pair)]
        level = beyond
    return list(causes.values())


def _note(
    catalog: Catalog,
    causes: dict[tuple[tuple[str, ...], str, str], Cause],
    chain: tuple[str, ...],
    what: str,
    pair: _Pair,
) -> None:
    manifest = catalog.at(pair.after or pair.before or "")
    kind = title_of_all([manifest]) if manifest else ""
    cause = causes.setdefault((chain, what, kind), Cause(chain, what, kind))
    cause.before += [pair.before] if pair.before else []
    cause.after += [pair.after] if pair.after else []


def _differences(catalog: Catalog, pair: _Pair, is_input: bool) -> list[str]:
    """What differs between the two themselves, their inputs apart."""
    if pair.before is None or pair.after is None:
        return ["only in the second" if pair.before is None else "only in the first"]
    old, new = catalog.at(pair.before), catalog.at(pair.after)
    if old is None or new is None:
        return ["a manifest cannot be read, so the difference cannot be told"]
    if (old.family, old.name) != (new.family, new.name):
        kind = "another input" if is_input else "another kind of artifact"
        return [f"{kind}: {old.family} {old.name} → {new.family} {new.name}"]
    changed = [f"date {old.date} → {new.date}"] if old.date != new.date else []
    changed += own_differences(old.recipe(), new.recipe())
    if old.epoch != new.epoch:
        changed.append(f"retracted and made again: epoch {old.epoch} → {new.epoch}")
    return changed


def _below(catalog: Catalog, pair: _Pair) -> Iterator[tuple[str, _Pair]]:
    """The inputs that differ, paired: those of one date with each other, others by their place."""
    old = catalog.at(pair.before) if pair.before else None
    new = catalog.at(pair.after) if pair.after else None
    if old is None or new is None or (old.family, old.name) != (new.family, new.name):
        return
    for role in changed_inputs(old.recipe(), new.recipe()):
        for found in _paired(catalog, _of_role(old, role), _of_role(new, role)):
            if found.before != found.after:
                yield role, found


def _of_role(manifest: Manifest, role: str) -> list[str]:
    return [edge.path for edge in edges_of(manifest) if edge.role == role]


def _paired(catalog: Catalog, before: list[str], after: list[str]) -> Iterable[_Pair]:
    if len(before) == len(after) == 1:
        return [_Pair(before[0], after[0])]
    old, new = _by_date(catalog, before), _by_date(catalog, after)
    if len(old) < len(before) or len(new) < len(after):  # dates do not tell them apart
        old, new = dict(enumerate(before)), dict(enumerate(after))
    places = dict.fromkeys([*old, *new])
    return [_Pair(old.get(place), new.get(place)) for place in places]


def _by_date(catalog: Catalog, paths: list[str]) -> dict[object, str]:
    return {manifest.date: path for path in paths if (manifest := catalog.at(path)) is not None}
