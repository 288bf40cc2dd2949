"""What a request asks about, decoded but not yet encoded for a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from registry.errors import BadData
from registry.models.signature import Encoder, Matrix, Signature
from serving.errors import RequestError

_NUMBERS = frozenset({int, float, type(None)})


@dataclass(frozen=True)
class Columns:
    """One sequence of values for each input, by name."""

    values: dict[str, Sequence[Any]]

    def encode(self, encoder: Encoder) -> Matrix:
        """The rows as a model's matrix. Raises RequestError naming the column and row."""
        try:
            return encoder.encode_columns(self.values)
        except BadData as error:
            raise RequestError(str(error)) from None


@dataclass(frozen=True)
class Rows:
    """Numbers in the order of the signature, `width` to a row, row after row in `flat`."""

    flat: Sequence[Any]
    width: int

    def encode(self, encoder: Encoder) -> Matrix:
        """The rows as a model's matrix. Raises RequestError."""
        signature = encoder.signature
        if self.width != len(signature.inputs):
            takes = ", ".join(signature.names)
            raise RequestError(
                f"a row has {self.width} values",
                f"the model takes {len(signature.inputs)}: {takes}",
            )
        if is_numeric(signature):
            return self._matrix()
        columns = {
            name: self.flat[index :: self.width] for index, name in enumerate(signature.names)
        }
        return Columns(columns).encode(encoder)

    def _matrix(self) -> Matrix:
        if not _NUMBERS.issuperset(map(type, self.flat)):
            bad = next(i for i, value in enumerate(self.flat) if type(value) not in _NUMBERS)
            raise RequestError(f"row {bad // self.width}, value {bad % self.width} is not a number")
        try:
            return np.array(self.flat, dtype=np.float64).reshape(-1, self.width)
        except OverflowError:
            raise RequestError("an integer exceeds the range of float64") from None


Inputs = Columns | Rows


def is_numeric(signature: Signature) -> bool:
    """Whether a row is plain float64 values, each of which may be missing."""
    return all(i.type == "float64" and i.missing == "nan" for i in signature.inputs)
