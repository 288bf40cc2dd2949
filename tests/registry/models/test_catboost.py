from __future__ import annotations

import catboost
import numpy as np
import pytest

from registry.errors import BadData
from registry.models.catboost import CatBoostPredictor, link_of, to_bytes
from tests.registry.models.conftest import data, train_catboost


@pytest.mark.parametrize("loss", ["Logloss", "RMSE", "MultiClass"])
def test_single_rows_and_batches_equal_the_librarys_own_numbers(loss):
    model = train_catboost(loss_function=loss)
    matrix = np.clip(data(300, 7), -1e30, 1e30)  # beyond float32 the library warns
    kind = "RawFormulaVal" if loss == "RMSE" else "Probability"
    want = np.reshape(model.predict(matrix, prediction_type=kind), (300, -1))
    want = want[:, 1:] if loss == "Logloss" else want
    for threads in (1, 2):
        predictor = CatBoostPredictor(to_bytes(model), link_of(model), threads)
        np.testing.assert_array_equal(predictor.predict(matrix), want)
        singles = [predictor.predict(matrix[row : row + 1]) for row in range(300)]
        np.testing.assert_array_equal(np.concatenate(singles), want)
        assert predictor.predict(matrix[:0]).shape == (0, want.shape[1])


def test_huge_values_are_infinite_in_float32(catboost_model):
    predictor = CatBoostPredictor(catboost_model.model, "logistic")
    huge, infinite = np.zeros((1, 6)), np.zeros((1, 6))
    huge[0, 0], infinite[0, 0] = 1e300, np.inf
    assert predictor.predict(huge) == predictor.predict(infinite)


def test_the_same_recipe_gives_the_same_bytes(catboost_model):
    assert to_bytes(train_catboost()) == catboost_model.model


def test_wrong_shapes_and_bytes(catboost_model):
    predictor = CatBoostPredictor(catboost_model.model, "logistic")
    with pytest.raises(BadData, match=r"\(rows, 6\)"):
        predictor.predict(np.zeros((1, 7)))
    for model in (b"", b"CBM1", catboost_model.model[:100], b"CBM1" + b"\xff" * 64):
        with pytest.raises(BadData, match="CatBoost refuses"):
            CatBoostPredictor(model, "logistic")


def test_categorical_features_are_refused():
    rows = catboost.Pool([["a", 1.0], ["b", 2.0]] * 20, [0, 1] * 20, cat_features=[0])
    model = catboost.CatBoost({"iterations": 2, "verbose": False, "allow_writing_files": False})
    with pytest.raises(BadData, match="categorical features: 0"):
        CatBoostPredictor(to_bytes(model.fit(rows)), None)


def test_an_unknown_loss_is_refused():
    model = train_catboost(loss_function="Lq:q=2", iterations=2)
    with pytest.raises(BadData, match="Lq"):
        link_of(model)
