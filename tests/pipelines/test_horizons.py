"""A use case that predicts at two moments: two models, two verdicts, one batch of predictions."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from pipelines.backfill import order_of, roots_between
from pipelines.commands.outcome import outcome_of
from pipelines.evaluate import Evaluate
from pipelines.features import Features
from pipelines.run import root_task
from pipelines.session import using
from registry.errors import UsageError
from registry.usecase import Gate, Horizon
from tests.pipelines.small import (
    ALGORITHMS,
    DAY,
    NAME,
    World,
    a_usecase,
    evaluated,
    labels,
    small_work,
)

NEXT = DAY + dt.timedelta(days=1)
ABOUT: dict[str, Any] = {"usecase": NAME, "date": DAY}
EVENING = Horizon("evening", {"lightgbm": ALGORITHMS["lightgbm"]}, window_days=3)


@pytest.fixture
def both(usecase, tmp_path):
    """A world that was run before the use case got its second horizon, and then has it."""
    losses = {"lightgbm": 0.50, "catboost": 0.55, "own": 0.52}
    world = World(tmp_path, lambda model: evaluated(losses[model.parameters["algorithm"]]))
    world.run()
    usecase(horizons=(EVENING,))
    return world


def test_a_further_horizon_keeps_what_is_there(both):
    committed = both.committed()
    changed = [label for label in committed if not label.startswith(("ingest", "predict"))]
    assert all("evening" in label for label in changed)
    assert sum(label.startswith("features") for label in committed) == 3 + 1 + 1
    assert f"train {NAME} {DAY} evening lightgbm" in committed


def test_what_another_horizon_has_is_no_reason(usecase, tmp_path):
    """The first of a new horizon is missing; it is no change of the other's."""
    world = World(tmp_path)
    world.run()
    usecase(horizons=(EVENING,))
    new = [step for step in world.plan() if "evening" in step.step and step.action == "run"]
    assert new
    assert {step.why for step in new} == {"missing"}


def test_each_horizon_has_a_model_of_its_own(both):
    both.run()
    first = both.aliases.live(NAME, "champion")
    second = both.aliases.live(f"{NAME}-evening", "champion")
    assert first.key != second.key
    assert both.one("model", horizon="evening").key == second.key
    assert len(both.one("model", horizon="evening").inputs["features"]) == 3


def test_the_last_horizon_scores_the_next_day(both):
    both.run()
    scored = both.one("predictions", horizon="evening")
    assert scored.inputs["model"] == both.aliases.live(f"{NAME}-evening", "champion").key
    assert scored.inputs["features"] == [both.one("features", NEXT, horizon="evening").key]


def test_verdicts_are_independent(both, usecase):
    both.run()
    usecase(horizons=(Horizon("evening", gate=Gate(min_auc_gain=9)),))
    both.run(NEXT)
    actions = {
        model: [entry.action for entry in both.aliases.log.entries(model, "champion")]
        for model in (NAME, f"{NAME}-evening")
    }
    assert actions == {NAME: ["publish", "publish"], f"{NAME}-evening": ["publish", "reject"]}


def test_each_horizon_is_compared_with_its_own_champion(both):
    both.run()
    evening = both.aliases.live(f"{NAME}-evening", "champion").key
    both.work = small_work(lambda model: evaluated(0.5 if model.key == evening else 0.51))
    both.run(NEXT)
    pins = [path.rsplit("/", 1)[1] for path in both.store.list(f"pins/{NAME}/{NEXT}/")]
    assert {"champion-0001.json", "champion-evening-0001.json"} <= set(pins)


def test_a_plan_and_an_outcome_tell_of_both(both):
    assert f"publish {NAME} {DAY} evening" in labels(both.plan(), "decide")
    both.run()
    session = both.session()
    outcome = outcome_of(session, root_task(NAME, DAY))
    assert [model.alias for model in outcome.models] == [
        f"{NAME}@champion", f"{NAME}-evening@champion",
    ]  # fmt: skip
    assert outcome.document()["verdict"] == outcome.models[0].verdict
    assert not outcome.models[0].comparison
    both.run(NEXT)
    after = outcome_of(both.session(), root_task(NAME, NEXT))
    assert all(model.comparison for model in after.models)
    assert outcome.predictions


def test_dates_of_a_backfill_follow_each_other_within_a_horizon(both):
    roots = roots_between(NAME, DAY, NEXT)
    with using(both.session()):
        order = order_of(roots)
        assert [str(task) for task in order.before(NEXT, "evening")] == [
            str(roots[0].publications()[1])
        ]
        assert order.before(DAY, "evening") == order.before(NEXT, "noon") == []


def test_an_unknown_horizon_is_a_clear_error(both):
    with using(both.session()), pytest.raises(UsageError, match="known are: evening"):
        Features(**ABOUT | {"horizon": "noon"}).describe()


def test_what_holds_at_a_horizon():
    settings = a_usecase(horizons=(EVENING, Horizon("noon")))
    assert settings.at("") is settings
    assert settings.at("evening").window_days == 3
    assert list(settings.at("evening").algorithms) == ["lightgbm"]
    assert settings.at("noon").algorithms == ALGORITHMS
    assert [settings.model(name) for name in settings.horizon_names] == [
        NAME, f"{NAME}-evening", f"{NAME}-noon",
    ]  # fmt: skip


def test_labels_name_the_horizon(both):
    with using(both.session()):
        task = Evaluate(**ABOUT | {"horizon": "evening", "algorithm": "lightgbm"})
        assert task.label == f"evaluate {NAME} {DAY} evening lightgbm"


def test_changes_reach_the_horizons_that_have_the_algorithm(both, usecase):
    usecase(horizons=(Horizon("evening", {"own": {}}),))
    changed = {"lightgbm": {"leaves": 9}}
    assert sorted(s for s in both.committed(DAY, changed) if s.startswith("train")) == [
        f"train {NAME} {DAY} evening own", f"train {NAME} {DAY} lightgbm leaves=9",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="known are catboost, lightgbm, own"):
        both.plan(DAY, {"forest": {}})


def test_a_model_of_a_horizon_has_its_own_name(both):
    both.run()
    assert both.one("model", horizon="evening").model == f"{NAME}-evening"
    assert both.one("model", algorithm="catboost").model == NAME
