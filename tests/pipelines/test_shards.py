"""A prediction in shards: artifacts of their own, and the whole that is made of them."""

from __future__ import annotations

import pytest

from pipelines.errors import RunFailed
from pipelines.reproduce import KINDS
from pipelines.runners.machine import AT_ONCE, Script
from registry.usecase import Quarantine
from tests.pipelines.small import NAME

SHARDS = 3


def shards(world):
    return sorted(world.manifests(f"shard/{NAME}/"), key=lambda m: m.parameters["shard"])


def test_the_whole_is_made_of_shards_in_order(world, usecase):
    usecase(shards=SHARDS)
    world.run()
    found = shards(world)
    assert [(m.parameters["shard"], m.parameters["shards"]) for m in found] == [
        (0, SHARDS), (1, SHARDS), (2, SHARDS),
    ]  # fmt: skip
    whole = world.one("predictions")
    assert list(whole.inputs["shards"]) == [m.key for m in found]
    assert {m.inputs["model"] for m in (*found, whole)} == {whole.inputs["model"]}
    assert all(m.inputs["features"] == found[0].inputs["features"] for m in found)
    assert world.run().run is None
    assert KINDS["shard"] == "predict"


def test_only_missing_shards_are_made_after_a_failure(world, usecase):
    usecase(shards=SHARDS)

    def second_fails(attempt):
        bad = attempt.spec.recipe.parameters.get("shard") == 1
        return Script(exit_code=65) if bad else AT_ONCE

    with pytest.raises(RunFailed):
        world.run(script=second_fails)
    before = {m.key for m in shards(world)}
    assert len(before) == SHARDS - 1
    assert not world.manifests("predictions/")
    assert world.committed() == [f"predict {NAME} 2020-01-10", f"predict {NAME} 2020-01-10 2/3"]
    assert before < {m.key for m in shards(world)}


def test_one_shard_is_what_it_was_without(world, usecase):
    world.run()
    key = world.one("predictions").key
    usecase(shards=1, quarantine=Quarantine(share=0.5, rows=9))
    assert world.run().run is None
    assert world.one("predictions").key == key


def test_what_may_be_infinite_is_in_the_key(world, usecase):
    world.run()
    usecase(quarantine=Quarantine(infinite=("ratio",)))
    assert world.committed() == [f"predict {NAME} 2020-01-10"]
    assert world.manifests("predictions/")[0].key != world.manifests("predictions/")[1].key
