"""LightGBM itself, and what "the same bits" means."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np

from registry.models.forest.evaluator import ForestPredictor
from registry.models.forest.image import build_image
from registry.models.forest.library import BIT_VECTORS, BLOCKED_WALK, WALK, library
from registry.models.signature import Matrix


def forest(model: bytes, threads: int = 1, iterations: int | None = None) -> ForestPredictor:
    """The evaluator of a text model; the suite needs the native library."""
    lib = library()
    assert lib is not None, "the native evaluator is not built: install gcc, then `make install`"
    return ForestPredictor(lib, build_image(model, iterations), threads)


def booster(model: bytes) -> lightgbm.Booster:
    """The library's own object."""
    return lightgbm.Booster(model_str=model.decode())


def scores(model: lightgbm.Booster, rows: Matrix, **options: Any) -> Matrix:
    """`Booster.predict` as a matrix of rows × outputs."""
    found = model.predict(rows, num_threads=1, **options)
    return np.reshape(np.asarray(found, dtype=np.float64), (len(rows), -1))


def bits(values: Matrix) -> Matrix:
    """Bit patterns, of which all NaN share one."""
    return np.where(np.isnan(values), np.nan, values).view(np.int64)


def assert_exact(predictor: ForestPredictor, model: lightgbm.Booster, rows: Matrix) -> None:
    """Raw scores bit for bit by every design at every level; outputs to 1e-12."""
    want = bits(scores(model, rows, raw_score=True))
    best = predictor._level
    for level in range(best + 1):
        predictor._level = level
        for design in (WALK, BIT_VECTORS, BLOCKED_WALK) if level else (WALK,):
            got = bits(predictor.raw(rows, design))
            assert np.array_equal(got, want), (level, design, np.argwhere(got != want)[:3])
    predictor._level = best
    assert np.array_equal(bits(predictor.raw(rows)), want)
    outputs = scores(model, rows)
    np.testing.assert_allclose(predictor.predict(rows), outputs, rtol=1e-12, atol=0)
    np.testing.assert_allclose(predictor.predict(rows[:1]), outputs[:1], rtol=1e-12, atol=0)
