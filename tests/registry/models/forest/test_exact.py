from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.registry.models.conftest import data, train_lightgbm
from tests.registry.models.forest.drawn import CHOICES, Plan, draw_model
from tests.registry.models.forest.oracle import assert_exact, bits, booster, forest, scores

#: Of each of the two halves, which run side by side.
MODELS = 1000

plans = st.builds(Plan, **{name: st.sampled_from(among) for name, among in CHOICES.items()})


def play(plan: Plan, seed: int) -> None:
    rng = random.Random(seed)
    model = draw_model(rng, plan)
    rows = model.rows(rng, rng.choice((2, 20, 40, 140)))
    assert_exact(forest(model.text), booster(model.text), rows)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("half", [0, 1])
def test_drawn_models_give_the_librarys_bits(half):
    @settings(max_examples=MODELS)
    @given(plan=plans, seed=st.integers(0, 2**31))
    def check(plan: Plan, seed: int) -> None:
        play(plan, 2 * seed + half)

    check()


TRAINED = [
    {},
    {"objective": "regression", "use_missing": False},
    {"zero_as_missing": True},
    {"objective": "multiclass", "num_class": 3},
    {"objective": "multiclassova", "num_class": 3},
    {"objective": "poisson"},
    {"objective": "cross_entropy_lambda"},
    {"objective": "regression", "reg_sqrt": True},
    {"objective": "quantile", "num_leaves": 127, "min_data_in_leaf": 2},
    {"objective": "regression", "num_leaves": 400, "min_data_in_leaf": 2, "max_bin": 1000},
    {"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1},
    {"boosting": "dart"},
    {"objective": "regression", "linear_tree": True},
    {"max_cat_to_onehot": 1, "cat_smooth": 1, "min_data_per_group": 5},
]


@pytest.mark.parametrize("parameters", TRAINED, ids=str)
def test_trained_models_give_the_librarys_bits(parameters):
    if parameters.get("objective") == "multiclassova":
        parameters = {**parameters, "min_data_in_leaf": 5}
    text = train_lightgbm(**parameters).model_to_string().encode()
    with np.errstate(all="ignore"):
        assert_exact(forest(text), booster(text), data(500, 7))


def test_a_ranking_model_of_the_library():
    import lightgbm

    matrix = data(600, 1)
    rows = lightgbm.Dataset(matrix, np.arange(600) % 4, group=[20] * 30)
    text = lightgbm.train({"objective": "lambdarank", "verbosity": -1}, rows, 5).model_to_string()
    assert_exact(forest(text.encode()), booster(text.encode()), data(100, 2))


@pytest.mark.parametrize("boosting", [{}, {"boosting": "rf", "bagging_fraction": 0.5,
                                           "bagging_freq": 1}])  # fmt: skip
def test_the_first_iterations_of_a_model(boosting):
    text = train_lightgbm(**boosting).model_to_string().encode()
    rows = data(50, 3)
    for count in (1, 7, 20, 99, 0, -1):
        part = forest(text, iterations=count)
        np.testing.assert_allclose(
            part.predict(rows), scores(booster(text), rows, num_iteration=count), rtol=1e-12
        )


def test_rows_are_alike_however_many_come_together():
    text = train_lightgbm().model_to_string().encode()
    predictor, rows = forest(text), data(700, 5)
    together = predictor.predict(rows)
    for size in (1, 2, 3, 7, 8, 16, 31, 33, 64, 65, 128, 129, 256, 257):
        parts = [predictor.predict(rows[at : at + size]) for at in range(0, 700, size)]
        assert np.array_equal(bits(np.concatenate(parts)), bits(together))
