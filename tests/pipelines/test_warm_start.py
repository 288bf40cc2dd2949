"""Training that goes on from the champion: a pin, in the key, off unless declared."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.backfill import order_of, roots_between
from pipelines.errors import RunFailed
from pipelines.run import run
from registry.artifacts.manifest import Manifest
from registry.errors import BadData, UsageError
from registry.lineage import edges_of
from registry.training import EarlyStopping, Training, WarmStart
from registry.usecase import Horizon
from tests.pipelines.small import DAY, NAME, World, labels
from tests.pipelines.test_reproduce import again

NEXT = DAY + dt.timedelta(days=1)
AFTER = DAY + dt.timedelta(days=2)
CHAMPION = (NAME, "champion")
WARM = Training(warm_start=WarmStart(5, most=100))


def trained(world: World, date: dt.date = NEXT, algorithm: str = "lightgbm") -> Manifest:
    return world.one("model", date, algorithm=algorithm)


def parents(manifest: Manifest) -> Iterator[str]:
    return (edge.path for edge in edges_of(manifest) if edge.role == "parent")


def test_the_champion_of_then_is_the_parent(world, usecase):
    usecase(training=WARM)
    world.run()
    first = trained(world, DAY)
    assert "parent" not in first.inputs
    assert "training" not in first.parameters
    world.run(NEXT)
    second = trained(world)
    assert second.inputs["parent"] == first.key
    assert second.parameters["training"] == {"warm_start": {"iterations": 5}}
    assert list(parents(second)) == [world.reference(first).path]
    other = trained(world, algorithm="catboost")
    assert "parent" not in other.inputs, "the champion is of another algorithm"
    # A later run of the date sees the same, whoever is champion by then.
    world.aliases.promote(CHAMPION, world.reference(other), who="tests", why="by hand")
    assert world.committed(NEXT) == []


def test_without_a_parent_the_key_is_that_of_ordinary_training(world, usecase):
    world.run()
    usecase(training=WARM)
    assert world.committed() == []


def test_a_plan_says_who_decides(world, usecase):
    usecase(training=WARM)
    world.run()
    planned = world.plan(NEXT)
    assert "train small 2020-01-11 lightgbm" in labels(planned, "decide")
    told = next(step for step in planned if step.step == "train small 2020-01-11 lightgbm")
    assert told.why == "decided by the champion that is live when the run starts"
    world.run(NEXT)
    assert "train small 2020-01-11 lightgbm" not in labels(world.plan(NEXT), "decide")


def test_a_model_is_made_again_from_its_parent(world, usecase, tmp_path: Path):
    usecase(training=WARM)
    world.run()
    world.run(NEXT)
    assert trained(world).inputs["parent"]
    assert again(world, trained(world), tmp_path).equal


def test_in_a_backfill_each_date_goes_on_from_the_one_before(world, usecase):
    usecase(training=WARM)
    session = world.session()
    roots = roots_between(NAME, DAY, AFTER)
    session.order = order_of(roots, newest_first=True)
    run(session, roots)
    keys = [trained(world, date).key for date in (DAY, NEXT, AFTER)]
    assert [trained(world, date).inputs["parent"] for date in (NEXT, AFTER)] == keys[:2]


def test_a_retracted_parent_gives_way(world, usecase):
    usecase(training=WARM)
    world.run()
    world.run(NEXT)
    old = trained(world)
    world.retract(trained(world, DAY))
    world.run(NEXT)
    anew = [m for m in world.manifests(f"model/{NAME}/") if m.date == NEXT.isoformat()]
    assert any("parent" not in m.inputs for m in anew if m.parameters["algorithm"] == "lightgbm")
    assert old.key in {m.key for m in anew}


@pytest.mark.parametrize(
    "changes",
    [
        {"training": Training(warm_start=WarmStart(5, most=14))},
        {"training": WARM, "versions": dict.fromkeys(("ingest", "features", "train", "evaluate", "predict"), 2)},
        {"training": WARM, "versions": {"ingest": 1, "features": 2, "train": 1, "evaluate": 1, "predict": 1}},
        {"training": WARM, "versions": {"ingest": 1, "features": 1, "train": 2, "evaluate": 1, "predict": 1}},
    ],
    ids=["too-large", "versions", "features", "train"],
)  # fmt: skip
def test_what_does_not_fit_is_no_parent(world, usecase, changes):
    world.run()
    usecase(**changes)
    world.run(NEXT)
    assert "parent" not in trained(world).inputs


def test_a_champion_of_a_later_date_is_no_parent(world, usecase):
    world.run(AFTER)
    usecase(training=WARM)
    world.run(NEXT)
    assert "parent" not in trained(world).inputs


def test_options_are_significant_and_those_of_their_horizon(world, usecase):
    stopping = Training(early_stopping=EarlyStopping(3), class_weights="balanced")
    usecase(training=stopping, horizons=(Horizon("ahead"),))
    world.run()
    asked = {"early_stopping": {"rounds": 3, "days": 1}, "class_weights": "balanced"}
    found = [
        m for m in world.manifests(f"model/{NAME}/") if m.parameters["algorithm"] == "lightgbm"
    ]
    assert {m.parameters.get("horizon"): m.parameters.get("training") for m in found} == {
        None: asked, "ahead": None,
    }  # fmt: skip


def test_an_algorithm_of_ones_own_has_no_options(world, usecase):
    usecase(training=WARM, algorithms={"mine": {}})
    with pytest.raises((UsageError, RunFailed), match="takes no options of training"):
        world.run()


@pytest.mark.parametrize(
    "off",
    [
        lambda: Training(class_weights=(1.0, -1.0)),
        lambda: Training(class_weights="even"),  # type: ignore[arg-type]
        lambda: Training(warm_start=WarmStart(0)),
        lambda: Training(early_stopping=EarlyStopping(rounds=5, days=0)),
    ],
)
def test_options_that_cannot_be(off):
    with pytest.raises(BadData, match="Correct `training`"):
        off()
