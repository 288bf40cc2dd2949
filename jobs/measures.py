"""How good probabilities are: AUC, log loss, Brier score, calibration, differences.

AUC is the Mann-Whitney statistic over the product of class sizes, ties counting half; log loss
and the Brier score are the usual means (Gneiting and Raftery, JASA 102, 2007).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_SMALLEST = 1e-15


def measure(labels: Floats, probabilities: Floats) -> dict[str, float]:
    """AUC, log loss, Brier score, calibration error, label rate, mean prediction and rows."""
    return {
        "auc": auc(labels, probabilities),
        "log_loss": log_loss(labels, probabilities),
        "brier": float(np.mean((probabilities - labels) ** 2)),
        "calibration_error": calibration_error(labels, probabilities),
        "label_rate": float(np.mean(labels)),
        "mean_prediction": float(np.mean(probabilities)),
        "rows": float(len(labels)),
    }


def auc(labels: Floats, scores: Floats) -> float:
    """Probability that a random positive scores above a random negative; NaN-free input.

    0.5 where one class is absent: nothing can be told apart.
    """
    positives = float(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return 0.5
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = float(ranks[inverse][labels == 1].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def log_loss(labels: Floats, probabilities: Floats) -> float:
    """Mean negative log-likelihood, in nats; probabilities are kept off 0 and 1."""
    return float(np.mean(losses(labels, probabilities)))


def losses(labels: Floats, probabilities: Floats) -> Floats:
    """The negative log-likelihood of each row, in nats."""
    kept = np.clip(probabilities, _SMALLEST, 1 - _SMALLEST)
    return np.asarray(-np.where(labels == 1, np.log(kept), np.log1p(-kept)), dtype=np.float64)


def roc(labels: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """False and true positive rates, from (0, 0) to (1, 1), one point per distinct score."""
    order = np.argsort(-scores, kind="stable")
    ordered = labels[order]
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    hits, misses = np.cumsum(ordered)[last], np.cumsum(1 - ordered)[last]
    true = np.concatenate([[0.0], hits / max(hits[-1], 1)])
    false = np.concatenate([[0.0], misses / max(misses[-1], 1)])
    return false, true


@dataclass(frozen=True)
class Bins:
    """Calibration by equally filled bins: mean prediction, observed rate, rows."""

    predicted: Floats
    observed: Floats
    rows: NDArray[np.int64]


def calibration(labels: Floats, probabilities: Floats, bins: int = 10) -> Bins:
    """Rows in the order of their prediction, cut into `bins` parts of equal size."""
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return Bins(
        np.array([probabilities[part].mean() for part in parts]),
        np.array([labels[part].mean() for part in parts]),
        np.array([len(part) for part in parts]),
    )


def calibration_error(labels: Floats, probabilities: Floats, bins: int = 10) -> float:
    """Expected calibration error: mean distance of prediction and rate over equally filled bins.

    Naeini, Cooper and Hauskrecht, AAAI 2015, with bins of equal size instead of equal width.
    """
    found = calibration(labels, probabilities, bins)
    return float(np.average(np.abs(found.predicted - found.observed), weights=found.rows))


@dataclass(frozen=True)
class Difference:
    """A mean difference of paired rows, and half the width of its 95 % interval."""

    mean: float
    spread: float

    @property
    def sure(self) -> bool:
        """Whether the interval leaves out zero."""
        return abs(self.mean) > self.spread


def difference(ours: Floats, theirs: Floats) -> Difference:
    """The mean of `ours` - `theirs`, row by row, as a normal mean (rows taken as independent)."""
    each = ours - theirs
    if len(each) < 2:
        return Difference(float(each.mean()), float("inf"))
    return Difference(float(each.mean()), float(1.96 * each.std(ddof=1) / len(each) ** 0.5))
