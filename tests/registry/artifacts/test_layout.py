"""Where things lie: readable, short, and told apart by the hash."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from registry.artifacts import layout
from registry.artifacts.store.protocol import is_object_key
from tests.registry.artifacts.test_canonical import VALUES
from tests.registry.makers import a_recipe

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@given(st.dictionaries(ANY_TEXT, VALUES | ANY_TEXT, max_size=8))
def test_a_path_is_short_plain_and_carries_the_hash(parameters: dict[str, Any]):
    recipe = a_recipe(parameters=parameters)
    path = layout.manifest_path(recipe)
    name = path.rpartition("/")[2]
    assert is_object_key(path)
    assert path.isascii()
    assert len(name) <= 255
    assert len(layout.data_prefix(recipe, "0001-" + "f" * 12) + "x" * 255) <= 1024
    assert name.endswith(f"--{recipe.key[:16]}.json")
    assert path.startswith("manifests/model/flights/date=2013-06-30/")


def test_hyperparameters_can_be_read_in_the_path():
    recipe = a_recipe(parameters={"rate": 0.1, "params": {"leaves": 31}, "names": ["a", "b"]})
    assert layout.manifest_path(recipe) == (
        "manifests/model/flights/date=2013-06-30/"
        f"names=a-b,leaves=31,rate=0.1--{recipe.key[:16]}.json"
    )


def test_the_date_is_a_folder_and_not_repeated():
    recipe = a_recipe(parameters={"date": "2013-06-30"})
    assert layout.stem(recipe) == f"model/flights/date=2013-06-30/--{recipe.key[:16]}"
    assert layout.stem(a_recipe(date=None, parameters={})).startswith("model/flights/--")


def test_long_parameters_are_cut_and_say_so():
    shown = layout.readable({"text": "x" * 500})
    assert len(shown) == layout.READABLE_BYTES
    assert shown.endswith("x+")
    assert layout.readable({"l": [1, 2, 3, 4, 5]}) == "l=1-2-3-4+"
    assert layout.readable({"a/b": "../é?"}) == "a_b=.._"


@given(ANY_TEXT, ANY_TEXT)
def test_parameters_that_look_alike_in_the_path_are_told_apart(one: str, other: str):
    paths = {layout.manifest_path(a_recipe(parameters={"p": text})) for text in (one, other)}
    assert len(paths) == len({one, other})


def test_everything_about_an_artifact_shares_one_stem():
    recipe = a_recipe()
    assert layout.manifest_path(recipe) == f"manifests/{layout.stem(recipe)}.json"
    assert layout.data_prefix(recipe, "w") == f"data/{layout.stem(recipe)}/w/"
    assert layout.manifest_path(recipe).startswith(layout.manifests_prefix("model", "flights"))


def test_numbered_records_sort_by_their_number():
    paths = [
        layout.attempt_path("k", 12),
        layout.attempt_end_path("k", 12),
        layout.attempt_log_path("k", 12),
        layout.retraction_path("k", 3),
        layout.decision_path("m", "a", 7),
        layout.run_path("r"),
        layout.pin_path("u", "2013-06-30", "champion"),
    ]
    assert paths == [
        "attempts/k/0012.json",
        "attempts/k/0012.end.json",
        "attempts/k/0012.log",
        "retractions/k/0003.json",
        "decisions/m/a/00000007.json",
        "runs/r.json",
        "pins/u/2013-06-30/champion.json",
    ]
    assert all(re.fullmatch(r"[a-z]+/.+\.(json|log)", path) for path in paths)
