"""The seam between a model's library and everything that asks it for numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from registry.models.signature import Matrix


class Predictor(Protocol):
    """A loaded model. Calls are safe from several threads; `close` is not, while one runs."""

    def predict(self, matrix: Matrix) -> Matrix:
        """Outputs of shape (rows, outputs) for inputs of shape (rows, inputs), both float64.

        A row's outputs do not depend on the rows beside it. Raises BadData for another shape.
        """

    def close(self) -> None:
        """Free native memory. Closing twice is fine; predicting afterwards is not."""
