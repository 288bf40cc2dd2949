"""Lineage both ways and the causes of a difference, on artifacts that real tasks made."""

from __future__ import annotations

import datetime as dt

import pytest

from pipelines.explain import compare
from registry.artifacts.catalog import RETRACTED, TAINTED, Catalog
from registry.lineage import Lineage, tree
from tests.pipelines.small import DAY, World


def path(world: World, *about: str, **parameters: str) -> str:
    family, *rest = about
    date = dt.date.fromisoformat(rest[0]) if rest else DAY
    return world.reference(world.one(family, date, **parameters)).path


def causes(world: World, before: str, after: str) -> set[tuple[str, str, int]]:
    found = compare(Catalog(world.store), before, after)
    return {("›".join(c.chain), c.what, len(c.after or c.before)) for c in found}


def test_a_changed_parameter_is_the_one_cause(world):
    world.run()
    before = path(world, "evaluation", "2020-01-10")
    first = path(world, "model", algorithm="lightgbm")
    world.run(changes={"lightgbm": {"leaves": 7}})
    (second,) = [
        each.reference(p).path
        for p, each in Catalog(world.store).everything().items()
        if each.parameters.get("model") == {"leaves": 7}
    ]
    assert causes(world, first, second) == {("", "model.leaves 3 → 7", 1)}
    assert causes(world, first, first) == set()
    assert before


def test_a_raised_version_is_found_through_all_that_stands_on_it(world, usecase):
    world.run()
    before = world.one("model", algorithm="lightgbm")
    versions = {"ingest": 2, "features": 1, "train": 1, "evaluate": 1, "predict": 1}
    usecase(versions=versions)
    world.run()
    after = [
        manifest
        for manifest in world.manifests("model/")
        if manifest.parameters["algorithm"] == "lightgbm" and manifest.key != before.key
    ]
    first, second = world.reference(before).path, world.reference(after[0]).path
    assert causes(world, first, second) == {("features›days", "version 1 → 2", 3)}


def test_another_date_shifts_the_window(world):
    world.run()
    world.run(DAY + dt.timedelta(days=1))
    first = path(world, "model", algorithm="lightgbm")
    second = path(world, "model", "2020-01-11", algorithm="lightgbm")
    found = causes(world, first, second)
    assert ("", "date 2020-01-10 → 2020-01-11", 1) in found
    assert ("features", "only in the first", 1) in found
    assert ("features", "only in the second", 1) in found


def test_kinds_that_cannot_be_compared_say_so(world):
    world.run()
    model, data = path(world, "model", algorithm="lightgbm"), path(world, "source")
    ((chain, what, _),) = causes(world, model, data)
    assert (chain, what) == ("", "another kind of artifact: model small → source small")


def test_lineage_up_ends_at_the_sources(world):
    world.run()
    lineage = Lineage(Catalog(world.store))
    root = tree(lineage, path(world, "predictions"), lineage.inputs)
    assert [branch.role for branch in root.branches] == ["model", "features"]
    (features,) = root.branches[0].branches
    assert (features.role, len(features.paths)) == ("features", 2)
    (days,) = features.branches
    assert (days.role, len(days.paths), days.branches) == ("days", 3, [])
    (near,) = tree(lineage, path(world, "model"), lineage.inputs, depth=1).branches
    assert near.branches == []


def test_lineage_down_names_predictions_and_decisions(world):
    world.run()
    catalog = Catalog(world.store)
    lineage = Lineage(catalog)
    decision = next(iter(lineage.decisions))
    model = lineage.decisions[decision].candidate.path
    used = {(edge.role, edge.path) for edge in lineage.uses(model)}
    assert ("candidate", decision) in used
    assert ("model", path(world, "predictions")) in used
    root = tree(lineage, path(world, "source", "2020-01-08"), lineage.uses, each=True)
    reached = set()
    stack = [root]
    while stack:
        branch = stack.pop()
        reached.update(branch.paths)
        stack += branch.branches
    assert {decision, model, path(world, "predictions")} <= reached


@pytest.mark.parametrize("each", [True, False])
def test_a_tree_shows_each_thing_with_what_lies_beyond_it_once(world, each):
    world.run()
    lineage = Lineage(Catalog(world.store))
    expanded: list[str] = []
    stack = [tree(lineage, path(world, "source", "2020-01-08"), lineage.uses, each=each)]
    while stack:
        branch = stack.pop()
        expanded += [] if branch.again else branch.paths
        stack += branch.branches
        assert not (branch.again and branch.branches)
    if each:
        assert len(expanded) == len(set(expanded))


def test_what_stands_on_a_retracted_artifact_is_marked(world):
    world.run()
    bad = world.one("source", dt.date(2020, 1, 8))
    world.retract(bad)
    catalog = Catalog(world.store)
    assert catalog.state(world.reference(bad).path) == RETRACTED
    assert catalog.state(path(world, "model", algorithm="lightgbm")) == TAINTED
    assert catalog.state(path(world, "source", "2020-01-11")) == ""
    before = path(world, "model", algorithm="lightgbm")
    world.run()
    after = [
        world.reference(m).path
        for m in world.manifests("model/")
        if m.parameters["algorithm"] == "lightgbm" and world.reference(m).path != before
    ]
    ((chain, what, _),) = causes(world, before, after[0])
    assert (chain, what) == ("features›days", "retracted and made again: epoch 0 → 1")
