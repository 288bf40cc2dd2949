from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pytest

from registry.errors import BadData
from registry.models.forest import evaluator
from registry.models.forest.image import build_image
from registry.models.forest.library import WALK, library
from tests.registry.models.conftest import data
from tests.registry.models.forest.oracle import forest


def test_no_rows_wrong_shapes_and_strides(lightgbm_model):
    predictor = forest(lightgbm_model.model)
    assert predictor.predict(np.empty((0, 6))).shape == (0, 1)
    for shape in ((1, 5), (1, 7), (6,)):
        with pytest.raises(BadData, match=r"\(rows, 6\)"):
            predictor.predict(np.zeros(shape))
    matrix = data(64, 3)
    want = predictor.predict(matrix)
    np.testing.assert_array_equal(predictor.predict(np.asfortranarray(matrix)), want)
    np.testing.assert_array_equal(predictor.predict(np.repeat(matrix, 2, axis=0)[::2]), want)
    single = np.asfortranarray(matrix)[5:6]
    single.flags.writeable = False
    np.testing.assert_array_equal(predictor.predict(single), want[5:6])
    few = predictor.predict(matrix.astype(np.float32))
    np.testing.assert_array_equal(few, predictor.predict(matrix.astype(np.float32).astype(float)))


def test_closing_twice_is_fine_and_predicting_then_is_not(lightgbm_model):
    predictor = forest(lightgbm_model.model)
    predictor.close()
    predictor.close()
    for rows in (1, 5):
        with pytest.raises(ValueError, match="closed"):
            predictor.predict(np.zeros((rows, 6)))


@pytest.mark.usefixtures("no_thread_leaks")
def test_threads_share_many_rows(lightgbm_model, monkeypatch):
    monkeypatch.setattr(evaluator, "_SHARE", 100)
    alone, together = forest(lightgbm_model.model), forest(lightgbm_model.model, threads=3)
    matrix = data(1001, 4)
    np.testing.assert_array_equal(together.predict(matrix), alone.predict(matrix))
    together.close()


def test_one_predictor_serves_several_threads(lightgbm_model):
    predictor, matrix = forest(lightgbm_model.model), data(200, 4)
    want = predictor.predict(matrix)

    def one_by_one(_):
        return np.concatenate([predictor.predict(row) for row in np.split(matrix, len(matrix))])

    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(one_by_one, range(8)):
            np.testing.assert_array_equal(got, want)


def test_a_level_that_disagrees_is_not_used(lightgbm_model, monkeypatch):
    lib = library()
    assert lib is not None
    real = lib.forest_predict

    class Wrong:
        """A processor on which vectors of more than 16 bytes give other numbers."""

        def forest_check(self, base, size):
            return 0

        def forest_level(self):
            return 3

        def forest_predict(self, base, rows, count, out, raw, level, design):
            failed = real(base, rows, count, out, raw, min(level, 1), design)
            if level > 1 and design != WALK:
                ctypes.c_double.from_address(out).value += 1
            return failed

    predictor = evaluator.ForestPredictor(cast(Any, Wrong()), build_image(lightgbm_model.model))
    assert predictor._level == 1


def test_no_memory_is_an_error(lightgbm_model, monkeypatch):
    predictor = forest(lightgbm_model.model)

    class Full:
        def forest_predict(self, *_):
            return -1

    monkeypatch.setattr(predictor, "_lib", Full())
    with pytest.raises(MemoryError, match="5 rows"):
        predictor.predict(np.zeros((5, 6)))
