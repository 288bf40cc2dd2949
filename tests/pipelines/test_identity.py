from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from pipelines import Features, Ingest, Predict, Train
from pipelines.run import root_task
from pipelines.session import using
from pipelines.target import ArtifactTarget
from tests.pipelines.small import ALGORITHMS, DAY, NAME, a_usecase, labels

BELOW_LIGHTGBM = [
    "evaluate small 2020-01-10 lightgbm",
    "predict small 2020-01-10",
    "train small 2020-01-10 lightgbm",
]
BELOW_BOTH = sorted(
    [
        "evaluate small 2020-01-10 catboost",
        "train small 2020-01-10 catboost",
        *BELOW_LIGHTGBM,
    ]
)


def versions(**raised):
    return {**a_usecase().versions, **raised}


def test_a_first_run_makes_everything_and_a_second_nothing(world):
    first = world.run()
    # ingest and features: the window of two days and its history, the day, the day to predict.
    assert len(first.made) == len(set(first.made)) == 5 + 4 + 2 + 2 + 1
    assert len(world.manifests()) == len(first.made)
    second = world.run()
    assert second.run is None
    assert second.made == []
    assert len(list(world.store.list("runs/"))) == 2  # the first run and its end


def test_a_hyperparameter_reruns_its_algorithm_alone(world):
    world.run()
    changes = {"lightgbm": {"leaves": 2}}
    planned = world.plan(changes=changes)
    below = [label + " leaves=2" * label.endswith("lightgbm") for label in BELOW_LIGHTGBM]
    assert world.committed(changes=changes) == below
    assert set(labels(planned, "run")) <= set(below)
    why = {step.step: step.why for step in planned}
    assert why["train small 2020-01-10 lightgbm leaves=2"] == "model.leaves 3 → 2"


def test_a_hyperparameter_at_its_default_changes_nothing(world):
    world.run()
    assert world.run(changes={"lightgbm": {"leaves": 3}}).run is None


def test_another_seed_trains_both(world, usecase):
    world.run()
    usecase(seed=2)
    assert world.committed() == BELOW_BOTH


@pytest.mark.parametrize(
    ("step", "rerun"),
    [
        ("ingest", {"ingest", "features", "train", "evaluate", "predict"}),
        ("features", {"features", "train", "evaluate", "predict"}),
        ("train", {"train", "evaluate", "predict"}),
        # The verdict on the same candidate stands, and so does what scores the day.
        ("evaluate", {"evaluate"}),
        ("predict", {"predict"}),
    ],
)
def test_the_version_of_a_step_reruns_everything_below(world, usecase, step, rerun):
    world.run()
    usecase(versions=versions(**{step: 2}))
    planned = world.plan()
    committed = world.committed()
    assert {label.split()[0] for label in committed} == rerun
    said = {*labels(planned, "run"), *labels(planned, "decide")}
    assert set(committed) <= said
    assert set(labels(planned, "run")) <= set(committed)


def test_another_snapshot_of_the_source_reruns_everything(world, usecase):
    world.run()
    usecase(snapshot=lambda: {"source": "snapshot-2"})
    assert len(world.committed()) == 14


def test_a_retracted_artifact_is_made_again_and_all_below(world):
    world.run()
    world.retract(world.one("source", DAY))
    planned = {step.step: step.why for step in world.plan()}
    assert planned["ingest small 2020-01-10"] == "retracted"
    assert world.committed() == sorted(
        [
            "ingest small 2020-01-10",
            # The day itself, and the next, which looks a day back.
            "features small 2020-01-10",
            "features small 2020-01-11",
            # The models read the days before; only what is evaluated and predicted changes.
            "evaluate small 2020-01-10 catboost",
            "evaluate small 2020-01-10 lightgbm",
            "predict small 2020-01-10",
        ]
    )
    assert world.run().run is None


def test_a_retracted_model_gets_a_verdict_of_its_own(world):
    world.run()
    world.retract(world.one("model", algorithm="lightgbm"))
    assert world.committed() == BELOW_LIGHTGBM
    assert [d.action for d in world.aliases.log.entries(NAME, "champion")] == ["publish", "publish"]


def test_retracting_twice_makes_it_twice_again(world):
    world.run()
    for epoch in (1, 2):
        world.retract(world.one("features", DAY))
        assert "features small 2020-01-10" in world.committed()
        assert world.one("features", DAY).epoch == epoch


def test_other_dates_share_what_they_can(world):
    world.run()
    committed = world.committed(DAY + dt.timedelta(days=1))
    assert sum(label.startswith(("ingest", "features")) for label in committed) == 2


def test_windows_are_cut_at_the_first_day(world):
    first = a_usecase().first_date
    committed = world.committed(first + dt.timedelta(days=1))
    assert sum(label.startswith("ingest") for label in committed) == 3


def test_a_new_parameter_with_an_absent_value_keeps_old_keys(world, monkeypatch):
    world.run()
    parameters = Features.parameters

    def with_new(value):
        def described(self):
            recipe = original(self)
            about = {**parameters(self), "horizon": value}
            return type(recipe)(
                recipe.family, recipe.name, recipe.version, about, recipe.inputs,
                recipe.externals, recipe.date, recipe.epoch, absent={"horizon": "departure"},
            )  # fmt: skip

        return described

    original = Features.describe
    monkeypatch.setattr(Features, "describe", with_new("departure"))
    assert world.run().run is None
    monkeypatch.setattr(Features, "describe", with_new("evening"))
    assert len(world.committed()) == 4 + 2 + 2 + 1


def test_where_and_how_it_runs_is_not_identity(world, usecase):
    world.run()
    usecase(sizes={"train": "l"}, gate=a_usecase().gate)
    world.env["PENSTOCK_WORKERS"] = "3"
    assert world.run().run is None


def test_the_order_of_parameters_is_not_identity(world, usecase):
    world.run()
    usecase(algorithms=dict(sorted(ALGORITHMS.items())))
    assert world.run().run is None


def test_roots_may_be_any_steps(world):
    day: dict[str, Any] = {"usecase": NAME, "date": DAY}
    assert world.run_steps(Ingest(**day)) == ["ingest small 2020-01-10"]
    catboost: dict[str, Any] = {**day, "algorithm": "catboost"}
    made = world.run_steps(Train(**catboost))
    assert made[-1] == "train small 2020-01-10 catboost"
    assert world.run_steps(Train(**catboost)) == []


def test_a_task_shows_its_manifest_to_luigi(world):
    world.run()
    session = world.session()
    with using(session):
        task = root_task(NAME, DAY)
        assert isinstance(task, Predict)
        target = task.output()
        assert isinstance(target, ArtifactTarget)
        assert target.exists()
        assert str(target).startswith("manifests/predictions/small/date=2020-01-10/")
        assert target.manifest().key == task.recipe.key
