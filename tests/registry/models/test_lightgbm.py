from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from registry.errors import BadData
from registry.models.lightgbm import LightGBMPredictor
from registry.models.lightgbm_text import check_text
from tests.registry.models.conftest import data, train_lightgbm

SETTINGS = [
    {},
    {"objective": "regression"},
    {"objective": "multiclass", "num_class": 3},
    {"use_missing": False},
    {"zero_as_missing": True},
    {"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_single_rows_and_batches_equal_the_librarys_own_numbers(settings):
    booster = train_lightgbm(**settings)
    matrix = data(500, 7)
    want = np.reshape(booster.predict(matrix, num_threads=1), (500, -1))
    text = booster.model_to_string().encode()
    for threads in (1, 2):
        predictor = LightGBMPredictor(text, threads)
        np.testing.assert_array_equal(predictor.predict(matrix), want)
        singles = [predictor.predict(matrix[row : row + 1]) for row in range(500)]
        np.testing.assert_array_equal(np.concatenate(singles), want)
        predictor.close()


def test_a_strided_matrix_gives_the_same(lightgbm_model):
    predictor = LightGBMPredictor(lightgbm_model.model)
    matrix = data(64, 3)
    want = predictor.predict(matrix)
    np.testing.assert_array_equal(predictor.predict(np.asfortranarray(matrix)), want)
    np.testing.assert_array_equal(predictor.predict(np.repeat(matrix, 2, axis=0)[::2]), want)


def test_no_rows_and_wrong_shapes(lightgbm_model):
    predictor = LightGBMPredictor(lightgbm_model.model)
    assert predictor.predict(np.empty((0, 6))).shape == (0, 1)
    for shape in ((1, 5), (1, 7), (6,)):
        with pytest.raises(BadData, match=r"\(rows, 6\)"):
            predictor.predict(np.zeros(shape))


def test_closing_twice_is_fine_and_predicting_then_is_not(lightgbm_model):
    predictor = LightGBMPredictor(lightgbm_model.model)
    predictor.close()
    predictor.close()
    with pytest.raises(ValueError, match="closed"):
        predictor.predict(np.zeros((1, 6)))


def test_the_header_is_read(lightgbm_model):
    text = check_text(lightgbm_model.model)
    assert text.names == lightgbm_model.signature.names
    assert (text.trees, text.outputs, text.categorical) == (20, 1, (5,))
    assert text.objective == "binary sigmoid:1"


def test_a_model_of_one_leaf():
    rows = lightgbm.Dataset(np.zeros((50, 1)), np.arange(50) % 2)
    booster = lightgbm.train({"objective": "binary", "verbosity": -1}, rows, 2)
    text = booster.model_to_string().encode()
    assert LightGBMPredictor(text).predict(np.zeros((1, 1)))[0, 0] == booster.predict([[0.0]])[0]


EDITS = [
    (b"left_child=", b"left_child=0 ", "left_child"),
    (b"left_child=1 ", b"left_child=99 ", "tree"),
    (b"split_feature=", b"split_feature=77 ", "split_feature"),
    (b"num_leaves=15", b"num_leaves=16", "tree"),
    (b"num_leaves=15", b"num_leaves=-1", "between"),
    (b"max_feature_idx=5", b"max_feature_idx=6", "features"),
    (b"num_class=1", b"num_class=9999999999", "between"),
    (b"num_class=1", b"num_class=0", "between"),
    (b"tree_sizes=", b"tree_sizes=1 ", "tree"),
    (b"cat_boundaries=0", b"cat_boundaries=7", "cat_boundaries"),
    (b"threshold=", b"threshold=x", "number"),
    (b"is_linear=0", b"is_linear=1", "linear"),
    (b"end of trees", b"end of threes", "end"),
    (b"num_tree_per_iteration=1", b"num_tree_per_iteration=7", "iteration"),
    (b"shrinkage=1", b"shrinkage=\0", "NUL"),
    (b"shrinkage=1", b"shrinkage 1", "shrinkage"),
    (b"split_gain=", b"split_gain?", "split_gain"),
    (b"internal_count=", b"internal_weigh=", "internal_count"),
    (b"leaf_value=", b"leaf_count=", "twice"),
]


@pytest.mark.parametrize(("old", "new", "why"), EDITS, ids=lambda part: str(part)[:24])
def test_an_edited_model_is_refused_before_the_library_sees_it(lightgbm_model, old, new, why):
    edited = _edit(lightgbm_model.model, old, new)
    with pytest.raises(BadData, match=why):
        check_text(edited)


def _edit(model: bytes, old: bytes, new: bytes) -> bytes:
    """Replace once, and let tree_sizes follow, as a careful forger would."""
    assert old in model
    edited = model.replace(old, new, 1)
    if old.startswith((b"tree_sizes", b"max", b"num_class", b"num_tree", b"end")):
        return edited
    sizes = [int(size) for size in _line(model, b"tree_sizes=").split()]
    sizes[0] += len(new) - len(old)
    return edited.replace(_line(model, b"tree_sizes="), b" ".join(b"%d" % s for s in sizes), 1)


def _line(model: bytes, key: bytes) -> bytes:
    start = model.index(key) + len(key)
    return model[start : model.index(b"\n", start)]


def test_a_cycle_is_refused(lightgbm_model):
    left = _line(lightgbm_model.model, b"left_child=").split()
    inner = next(i for i, child in enumerate(left) if i and int(child) > 0)
    left[inner] = left[0]
    edited = lightgbm_model.model.replace(
        _line(lightgbm_model.model, b"left_child="), b" ".join(left), 1
    )
    with pytest.raises(BadData):
        check_text(edited)
