"""The matrix that every predictor takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from registry.errors import BadData

if TYPE_CHECKING:
    from registry.models.signature import Matrix


def as_rows(matrix: Matrix, features: int) -> Matrix:
    """The matrix as C-contiguous float64 of `features` columns, or BadData."""
    check_shape(matrix, features)
    return np.ascontiguousarray(matrix, dtype=np.float64)


def check_shape(matrix: Matrix, features: int) -> None:
    """Raise BadData unless the matrix has `features` columns."""
    if matrix.ndim != 2 or matrix.shape[1] != features:
        raise BadData(
            f"a matrix of shape {matrix.shape} does not fit the model",
            f"it takes (rows, {features})",
            "Encode rows with the signature of the bundle.",
        )
