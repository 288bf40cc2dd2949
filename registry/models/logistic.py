"""Logistic regression with an L2 penalty, as a predictor of a use case's own (numpy alone).

The model is its coefficients, as JSON. Numbers are standardised; a category has a weight for each
of its values; what is missing has a weight of its own. Fitted by Newton's method (iteratively
reweighted least squares; Hastie, Tibshirani and Friedman, The Elements of Statistical Learning,
4.4.1), where the penalty makes the optimum unique.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from registry.decoders import decoder
from registry.errors import BadData
from registry.models.matrix import as_rows
from registry.models.own import OwnPredictor
from registry.models.signature import Matrix, Signature

Floats = NDArray[np.float64]

_STEPS = 50
_CLOSE = 1e-10
#: Digits that are kept: the last ones depend on the processor's linear algebra.
_DIGITS = 9


class Term(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one input adds to the log odds.

    A number adds `weights[0] · (x - mean) / scale`, a category `weights[code]`, a missing value
    `missing`.
    """

    weights: tuple[float, ...]
    missing: float
    category: bool = False
    mean: float = 0.0
    scale: float = 1.0


class Coefficients(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of model.json."""

    intercept: float
    terms: tuple[Term, ...]


class Logistic(OwnPredictor):
    """Probability of the label; `l2` is the penalty on the squared weights, per row.

    `l2_of` maps names of inputs, or patterns such as `day_*`, to penalties of their own. What
    hardly varies between rows (the weather of a day, say) is learnt from far fewer cases than
    there are rows, and wants a larger one.
    """

    name: ClassVar[str] = "logistic"
    version: ClassVar[int] = 1
    parameters: ClassVar[Mapping[str, Any]] = {"l2": 0.001, "l2_of": {}}

    def __init__(self, model: bytes, threads: int = 1) -> None:  # noqa: ARG002 - one is enough
        self._model = decoder(Coefficients).decode(model)
        self.features, self.outputs = len(self._model.terms), 1

    @classmethod
    def train(
        cls,
        signature: Signature,
        matrix: Matrix,
        labels: Floats,
        *,
        parameters: Mapping[str, Any],
        seed: int,  # noqa: ARG003 - nothing is drawn
        threads: int,  # noqa: ARG003
    ) -> bytes:
        """See `OwnPredictor.train`.

        Raises:
            BadData: a penalty is not a positive number, or a name in `l2_of` fits no input.
        """
        penalties = _penalties(signature.names, parameters["l2"], parameters["l2_of"])
        sizes = [len(member.categories or ()) for member in signature.inputs]
        blanks = [_blank(column, size) for column, size in zip(matrix.T, sizes, strict=True)]
        parts = [_design(*pair) for pair in zip(matrix.T, blanks, strict=True)]
        design = np.hstack([np.ones((len(matrix), 1)), *parts])
        penalty = np.repeat(penalties, [part.shape[1] for part in parts])
        weights = _fit(design, labels, penalty)
        return msgspec.json.format(msgspec.json.encode(_model(weights, blanks)), indent=1) + b"\n"

    def predict(self, matrix: Matrix) -> Matrix:
        rows = as_rows(matrix, self.features)
        parts = np.empty_like(rows)
        for position, term in enumerate(self._model.terms):
            parts[:, position] = _contribution(term, rows[:, position])
        # A sum along each row by itself: a matrix product rounds by how many rows there are.
        odds = parts.sum(axis=1) + self._model.intercept
        return _sigmoid(odds)[:, np.newaxis]


def _blank(column: Floats, categories: int) -> Term:
    """A term without weights: what standardises the column."""
    if categories:
        return Term((0.0,) * categories, 0.0, category=True)
    known = column[~np.isnan(column)]
    scale = float(known.std()) if len(known) else 0.0
    mean = float(known.mean()) if len(known) else 0.0
    return Term((0.0,), 0.0, mean=mean, scale=scale if scale > 0 else 1.0)


def _design(column: Floats, blank: Term) -> Floats:
    """Columns of the least-squares problem: one for each weight, and one for what is missing."""
    absent = np.isnan(column)
    if not blank.category:
        number = np.where(absent, 0.0, (column - blank.mean) / blank.scale)
        return np.column_stack([number, absent.astype(np.float64)])
    codes = np.where(absent, len(blank.weights), column).astype(np.int64)
    width = len(blank.weights) + 1
    return np.asarray(np.eye(width, dtype=np.float64)[codes])


def _penalties(names: Sequence[str], l2: object, l2_of: Mapping[str, object]) -> list[float]:
    """The penalty of each input: that of the last pattern that fits its name, or `l2`."""
    unknown = [p for p in l2_of if not any(fnmatch.fnmatchcase(name, p) for name in names)]
    if unknown:
        raise BadData(
            f"l2_of names {', '.join(unknown)}",
            f"the inputs are {', '.join(names)}",
            "Correct the name in the use case's settings.",
        )
    checked = {pattern: _positive(f"l2_of {pattern}", given) for pattern, given in l2_of.items()}
    usual = _positive("l2", l2)
    fitting = [[checked[p] for p in checked if fnmatch.fnmatchcase(name, p)] for name in names]
    return [found[-1] if found else usual for found in fitting]


def _positive(name: str, given: object) -> float:
    if not isinstance(given, int | float) or isinstance(given, bool) or not given > 0:
        raise BadData(f"{name} is {given!r}", "it must be a number above 0", "For example 0.001.")
    return float(given)


def _fit(design: Floats, labels: Floats, l2: Floats) -> Floats:
    """The weights, the intercept first, which alone is not penalised; `l2` of the others."""
    penalty = np.concatenate([[1e-9], l2 * len(design)])
    weights = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        expected = _sigmoid(design @ weights)
        spread = np.maximum(expected * (1 - expected), 1e-9)
        slope = design.T @ (labels - expected) - penalty * weights
        curvature = (design * spread[:, np.newaxis]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, slope)
        weights += step
        if np.abs(step).max() < _CLOSE:
            break
    return weights


def _model(weights: Floats, blanks: list[Term]) -> Coefficients:
    rounded = [float(f"{weight:.{_DIGITS}g}") for weight in weights]
    terms, start = [], 1
    for blank in blanks:
        stop = start + len(blank.weights)
        terms.append(
            msgspec.structs.replace(
                blank, weights=tuple(rounded[start:stop]), missing=rounded[stop]
            )
        )
        start = stop + 1
    return Coefficients(rounded[0], tuple(terms))


def _contribution(term: Term, column: Floats) -> Floats:
    absent = np.isnan(column)
    if not term.category:
        number = term.weights[0] * ((column - term.mean) / term.scale)
        return np.where(absent, term.missing, number)
    codes = np.where(absent, len(term.weights), column).astype(np.int64)
    return np.asarray([*term.weights, term.missing])[codes]


def _sigmoid(odds: Floats) -> Floats:
    with np.errstate(over="ignore"):
        result: Floats = 1.0 / (1.0 + np.exp(-odds))
    return result
