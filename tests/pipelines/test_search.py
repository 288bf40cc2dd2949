"""Searches: trials before the date, one best, and what hangs on it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.commands.search import values_of
from pipelines.plan import plan
from pipelines.publish import Publish
from pipelines.run import run
from pipelines.search import Search
from pipelines.session import using
from pipelines.trials import trials_of
from registry.errors import UsageError
from tests.pipelines.small import DAY, NAME, told

BEFORE = DAY - dt.timedelta(days=1)
PLAN = {"space": {"leaves": [2, 4]}}
ABOUT: dict[str, Any] = {"usecase": NAME, "date": DAY}


def a_search(**more: Any) -> Search:
    return Search(**{**ABOUT, "algorithm": "lightgbm", "plan": {**PLAN, **more}})


def a_publication() -> Publish:
    return Publish(**{**ABOUT, "searches": {"lightgbm": PLAN}})


def test_a_grid_is_every_combination():
    assert trials_of({"space": {"b": [1, 2], "a": ["x", "y"]}}) == [
        {"a": "x", "b": 1}, {"a": "x", "b": 2}, {"a": "y", "b": 1}, {"a": "y", "b": 2},
    ]  # fmt: skip


@given(st.integers(1, 12), st.integers(0, 2**31))
def test_draws_are_different_in_range_and_the_same_each_time(count, seed):
    space = {
        "rate": {"low": 0.01, "high": 0.3, "log": True},
        "leaves": {"low": 4, "high": 64},
        "kind": ["a", "b"],
    }
    drawn = trials_of({"space": space, "random": count, "seed": seed})
    assert drawn == trials_of({"space": space, "random": count, "seed": seed})
    assert len({repr(trial) for trial in drawn}) == len(drawn) == count
    for trial in drawn:
        assert 0.01 <= trial["rate"] <= 0.3
        assert isinstance(trial["leaves"], int)
        assert 4 <= trial["leaves"] <= 64
        assert trial["kind"] in {"a", "b"}


def test_a_small_space_gives_what_it_has():
    assert len(trials_of({"space": {"a": [1, 2, 3]}, "random": 10})) == 3


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"space": {}}, "space of the search is empty"),
        ({"space": {"a": []}}, "the values of a are"),
        ({"space": {"a": 3}}, "the values of a are 3"),
        ({"space": {"a": {"low": 2, "high": 1}}}, "low < high"),
        ({"space": {"a": {"low": 0, "high": 1, "log": True}}}, "above 0 where log"),
        ({"space": {"a": {"low": 0, "high": 1, "step": 1}}}, "the values of a are"),
        ({"space": {"a": {"low": "x", "high": 1}}}, "the values of a are"),
        ({"space": {"a": {"low": 0, "high": 1}}}, "a is a range"),
        ({"space": {name: list(range(9)) for name in "abc"}}, "729 trials"),
        ({"space": {"a": [1]}, "random": 501}, "501 trials"),
    ],
)
def test_what_cannot_be_searched(asked, words):
    with pytest.raises(UsageError, match=words):
        trials_of(asked)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("7,15,31", [7, 15, 31]),
        ("0.5", [0.5]),
        ("gbdt,dart", ["gbdt", "dart"]),
        ("0.1..0.9", {"low": 0.1, "high": 0.9}),
        ("log:0.01..0.2", {"low": 0.01, "high": 0.2, "log": True}),
        ("7..63", {"low": 7, "high": 63}),
    ],
)
def test_values_on_the_command_line(text, values):
    assert values_of(text) == values


def test_trials_are_ordinary_models_of_the_days_before(world):
    made = world.run_steps(a_search(days=2))
    assert made[-1] == f"search {NAME} {DAY} lightgbm"
    dates = {m.date for m in world.manifests("model/")}
    assert dates == {str(BEFORE), str(BEFORE - dt.timedelta(days=1))}
    assert len(world.manifests("model/")) == 3 * 2
    assert not [label for label in made if label.startswith("features") and str(DAY) in label]
    assert world.run_steps(a_search(days=2)) == []


def test_more_trials_use_those_there_are(world):
    world.run_steps(a_search())
    made = world.run_steps(a_search(space={"leaves": [2, 4, 8]}))
    assert sum(label.startswith("train") for label in made) == 1


def test_the_best_flows_on_to_the_verdict(world):
    made = world.run_steps(a_publication())
    assert made.index(f"search {NAME} {DAY} lightgbm") < made.index(f"train {NAME} {DAY} lightgbm")
    model = world.one("model", DAY, algorithm="lightgbm")
    assert model.inputs["search"] == [world.one("search").key]
    assert "search" not in world.one("model", DAY, algorithm="catboost").inputs
    (decision,) = world.aliases.log.entries(NAME, "champion")
    assert decision.candidate.key == model.key


def test_keys_below_a_search_are_known_before_it_ran(world):
    planned = {step.step: step for step in plan(world.session(), [a_publication()])}
    key = planned[f"train {NAME} {DAY} lightgbm"].key
    session = world.session()
    run(session, [a_publication()])
    assert ("committed", f"train {NAME} {DAY} lightgbm", key) in told(session).told


def test_a_declared_search_precedes_every_training(world, usecase):
    usecase(searches={"lightgbm": PLAN})
    made = world.committed()
    assert f"search {NAME} {DAY} lightgbm" in made
    usecase()
    assert f"train {NAME} {DAY} lightgbm" in world.committed()


def test_an_algorithm_that_is_not_there(world):
    with using(world.session()), pytest.raises(UsageError, match="unknown algorithm 'forest'"):
        plan(world.session(), [Search(**{**ABOUT, "algorithm": "forest", "plan": PLAN})])
