from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import measures
from jobs.baseline import base_rate

PAIRS = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 0.1, 0.5, 0.5000001, 1.0])),
    min_size=1,
    max_size=20,
)


def _arrays(pairs):
    labels, scores = zip(*pairs, strict=True)
    return np.array(labels), np.array(scores)


@given(PAIRS)
def test_auc_counts_pairs(pairs):
    positives = [score for label, score in pairs if label]
    negatives = [score for label, score in pairs if not label]
    wins = [(p > n) + 0.5 * (p == n) for p in positives for n in negatives]
    want = sum(wins) / len(wins) if wins else 0.5
    assert measures.auc(*_arrays(pairs)) == pytest.approx(want)


@given(PAIRS)
def test_the_area_under_the_curve_is_the_auc(pairs):
    labels, scores = _arrays(pairs)
    false, true = measures.roc(labels, scores)
    if 0 < labels.sum() < len(labels):
        assert np.trapezoid(true, false) == pytest.approx(measures.auc(labels, scores))
        assert (true[-1], false[-1]) == (1, 1)


def test_log_loss_and_brier():
    labels, probabilities = np.array([1.0, 0.0]), np.array([0.8, 0.4])
    assert measures.log_loss(labels, probabilities) == pytest.approx(
        -(math.log(0.8) + math.log(0.6)) / 2
    )
    assert measures.measure(labels, probabilities)["brier"] == pytest.approx((0.04 + 0.16) / 2)
    assert math.isfinite(measures.log_loss(labels, np.array([0.0, 1.0])))


@given(PAIRS)
def test_calibration_keeps_every_row(pairs):
    labels, scores = _arrays(pairs)
    bins = measures.calibration(labels, scores)
    assert bins.rows.sum() == len(labels)
    assert (bins.observed * bins.rows).sum() == pytest.approx(labels.sum())
    assert (np.diff(bins.predicted) >= 0).all()


def test_base_rate_draws_small_groups_to_the_whole():
    groups = pa.array(["a"] * 60 + ["b"] * 20)
    labels = np.array([1.0] * 60 + [0.0] * 20)
    rates = base_rate(groups, labels, pa.array(["a", "b", "new"]))
    assert rates.tolist() == pytest.approx([(60 + 15) / 80, 15 / 40, 0.75])
