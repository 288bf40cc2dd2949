"""One spelling for one value."""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.artifacts.canonical import digest, normal, spell
from registry.errors import UsageError

SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), inner)
    ),
    max_leaves=12,
)


class Loss(enum.StrEnum):
    LOG = "log"


def typed(value: Any) -> Any:
    """`value` with its types told apart, which Python's `==` does not: 1 == 1.0 == True."""
    if isinstance(value, dict):
        return ("dict", {key: typed(item) for key, item in value.items()})
    if isinstance(value, list):
        return ("list", [typed(item) for item in value])
    return (type(value).__name__, value)


@given(VALUES)
def test_the_normal_form_is_its_own_normal_form(value: Any):
    assert typed(normal(normal(value))) == typed(normal(value))


@given(VALUES)
def test_the_spelling_reads_back_as_the_value(value: Any):
    assert typed(json.loads(spell(normal(value)))) == typed(normal(value))


@given(VALUES, VALUES)
def test_values_share_a_digest_only_if_they_are_the_same(one: Any, other: Any):
    same = typed(normal(one)) == typed(normal(other))
    assert (digest("t", one) == digest("t", other)) == same


@given(st.dictionaries(st.text("abc", max_size=3), SCALARS), st.randoms())
def test_the_order_of_a_mapping_does_not_matter(value: dict[str, Any], random: Any):
    items = list(value.items())
    random.shuffle(items)
    assert digest("t", dict(items)) == digest("t", value)


def test_kinds_do_not_collide():
    assert digest("penstock.recipe.v1", {}) != digest("penstock.manifest.v1", {})


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        (1, "1"),
        (1.0, "1.0"),
        (True, "true"),
        (-0.0, "0.0"),
        (1e22, "1e+22"),
        ("é\n", '"\\u00e9\\n"'),
        ({"b": 1, "a": [None]}, '{"a":[null],"b":1}'),
        ((1, 2), "[1,2]"),
        ({3, 1, 2}, "[1,2,3]"),
        (frozenset({"b", "a"}), '["a","b"]'),
        (dt.date(2013, 6, 30), '"2013-06-30"'),
        (dt.datetime(2013, 6, 30, 3, tzinfo=dt.UTC), '"2013-06-30T03:00:00+00:00"'),
        (Loss.LOG, '"log"'),
        (np.float64(0.1), "0.1"),
        (2**70, "1180591620717411303424"),
    ],
)
def test_spellings_that_keys_rest_on(value: Any, spelled: str):
    assert spell(normal(value)) == spelled


@pytest.mark.parametrize("value", [Loss.LOG, np.float64(0.1), enum.IntEnum("N", "A").A])  # type: ignore[attr-defined]
def test_the_normal_form_holds_plain_types_only(value: Any):
    assert type(normal(value)) in (str, float, int)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, b"x", object(), np.int64(1), {1: 2}, "\udcff"]
)
def test_what_has_no_single_spelling_is_refused_with_its_place(value: Any):
    with pytest.raises(UsageError, match=r"^parameters\.rate\[1\]"):
        normal({"rate": [0, value]}, "parameters")


def test_a_key_that_is_no_text_is_refused():
    with pytest.raises(UsageError, match="keys are text"):
        normal({1: "x"})
    with pytest.raises(UsageError, match="Unicode"):
        normal({"\udcff": "x"})
