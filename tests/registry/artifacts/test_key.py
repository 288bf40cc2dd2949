"""What an artifact is made from decides what it is called."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.artifacts.attempt import RecipeRecord
from registry.artifacts.key import Recipe, check_key
from registry.artifacts.records import decode_record, encode_record
from registry.errors import UsageError
from tests.registry.artifacts.test_canonical import SCALARS, VALUES, typed
from tests.registry.makers import a_recipe

PARAMETERS = st.dictionaries(st.text("abcde", min_size=1, max_size=3), VALUES, max_size=4)

#: Frozen: an artifact that exists is found by its key, so no release may change the algorithm.
GOLDEN = {
    "plain": (
        Recipe("model", "flights", 1),
        "f3b9310279e8853911261027f92d56054ca87c68e6e9f23e9b717d7130a46856",
    ),
    "everything": (
        Recipe(
            "model", "flights", 3,
            {"rate": 0.1, "leaves": 31, "name": "é", "list": [1, 2.5, None, True], "sub": {"a": 1}},
            {"features": ("a" * 64, "b" * 64), "window": "c" * 64},
            {"flights": "2013@sha256:00"},
            "2013-06-30",
            2,
        ),
        "f16b72d2af9894c72ecaa70d9fc7330b3b156c3e19d38bfebd2608019e9b1fb5",
    ),
    "absent left out": (
        Recipe("model", "flights", 1, {"new": 0}, absent={"new": 0}),
        "f3b9310279e8853911261027f92d56054ca87c68e6e9f23e9b717d7130a46856",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOLDEN)
def test_keys_are_what_they_were(name: str):
    recipe, key = GOLDEN[name]
    assert recipe.key == key


@given(PARAMETERS, st.randoms())
def test_the_order_of_parameters_does_not_matter(parameters: dict[str, Any], random: Any):
    items = list(parameters.items())
    random.shuffle(items)
    assert a_recipe(parameters=dict(items)).key == a_recipe(parameters=parameters).key


@given(PARAMETERS, PARAMETERS)
def test_distinct_parameters_give_distinct_keys(one: dict[str, Any], other: dict[str, Any]):
    recipes = a_recipe(parameters=one), a_recipe(parameters=other)
    same = typed(recipes[0].significant) == typed(recipes[1].significant)
    assert (recipes[0].key == recipes[1].key) == same


def test_each_part_is_part_of_the_key():
    base = a_recipe()
    others = [
        a_recipe(family="features"),
        a_recipe(name="trains"),
        a_recipe(version=2),
        a_recipe(parameters={}),
        a_recipe(inputs={"features": "a" * 64}),
        a_recipe(inputs={"features": ("a" * 64,)}),
        a_recipe(inputs={"features": ("a" * 64, "b" * 64)}),
        a_recipe(inputs={"features": ("b" * 64, "a" * 64)}),
        a_recipe(inputs={"days": "a" * 64}),
        a_recipe(externals={"flights": "snapshot-2"}),
        a_recipe(date="2013-07-01"),
        a_recipe(date=None),
        a_recipe(epoch=1),
        a_recipe(epoch=2),
    ]
    for one, other in itertools.combinations([base, *others], 2):
        assert one.key != other.key


def chain(**changes: Any) -> list[str]:
    """The keys of a small pipeline whose first step differs by `changes`."""
    day = a_recipe(family="ingest", parameters={}, **changes)
    features = a_recipe(family="features", inputs={"days": (day.key,)})
    model = a_recipe(inputs={"features": (features.key,)})
    report = a_recipe(family="report", inputs={"model": model.key, "features": features.key})
    return [day.key, features.key, model.key, report.key]


@pytest.mark.parametrize("change", [{"version": 2}, {"externals": {"s": "2"}}, {"epoch": 1}])
def test_a_change_upstream_changes_everything_below(change: dict[str, Any]):
    before, after = chain(), chain(**change)
    assert all(one != other for one, other in zip(before, after, strict=True))


@given(PARAMETERS, SCALARS)
def test_a_new_parameter_at_its_absent_value_keeps_old_keys(old: dict[str, Any], value: Any):
    old.pop("new", None)
    new = a_recipe(parameters={**old, "new": value}, absent={"new": value})
    assert new.key == a_recipe(parameters=old).key
    assert "new" not in new.significant


@pytest.mark.parametrize(
    ("absent", "value"), [(0, False), (1, True), (0, 0.0), ([1], [True]), ({"a": 1}, {"a": 1.0})]
)
def test_what_only_python_calls_equal_is_not_absent(absent: Any, value: Any):
    recipe = a_recipe(parameters={"new": value}, absent={"new": absent})
    assert recipe.key != a_recipe(parameters={}).key


@given(PARAMETERS)
def test_a_recorded_recipe_keeps_its_key(parameters: dict[str, Any]):
    recipe = a_recipe(parameters=parameters, inputs={"f": ("a" * 64,), "m": "b" * 64}, epoch=1)
    data = encode_record(RecipeRecord.of(recipe))
    assert decode_record(data, RecipeRecord, "x", "recipe").recipe().key == recipe.key


def test_retraction_changes_the_key_and_not_the_base_key():
    first, second = a_recipe(), a_recipe().at_epoch(1)
    assert first.key != second.key
    assert first.base_key == second.base_key == first.key
    assert second.at_epoch(0).key == first.key
    assert second.at_epoch(1) is second


@pytest.mark.parametrize(
    "change",
    [
        {"family": ""}, {"family": "../x"}, {"family": "A"}, {"name": "a/b"}, {"name": ".."},
        {"name": "x" * 64}, {"name": "a\n"}, {"version": 0}, {"date": "2013-6-30"},
        {"date": "yesterday"}, {"date": "2013-06-30T"}, {"date": "٢٠١٣"}, {"date": "2013\n"},
    ],
)  # fmt: skip
def test_a_malformed_recipe_is_refused(change: dict[str, Any]):
    with pytest.raises(UsageError):
        a_recipe(**change)


@pytest.mark.parametrize("date", ["2013", "2013-W26", "2013-06-30", "2013-06-30T03"])
def test_dates_have_a_granularity(date: str):
    assert a_recipe(date=date).date == date


def test_a_key_has_64_hex_digits():
    assert check_key("0f" * 32) == "0f" * 32
    for text in ("", "0f" * 31, "0F" * 32, "0f" * 32 + "\n", "g" * 64):
        with pytest.raises(UsageError):
            check_key(text)
