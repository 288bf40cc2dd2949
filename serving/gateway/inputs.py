"""What a request asks about, decoded but not yet encoded for a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import BadData
from registry.models.signature import Column, Encoder, Matrix, Signature
from serving.errors import RequestError
from serving.gateway.payload import PayloadEncoder
from serving.gateway.plain import PlainReader
from serving.payloads import PayloadMemory

_NUMBERS = frozenset({int, float, type(None)})


class RowEncoder:
    """A signature's encoder, and what is asked of the signature for every request.

    `memory` is where bytes go, if the signature has any.
    """

    def __init__(self, signature: Signature, memory: PayloadMemory | None = None) -> None:
        self.signature = signature
        self.names = signature.names
        #: A row is plain float64 values, each of which may be missing: nothing to look up.
        self.numeric = all(i.type == "float64" and i.missing == "nan" for i in signature.inputs)
        #: Reads such rows from the plainest of bodies. A lone column may be meant by its name.
        self.plain = PlainReader(len(self.names)) if self.numeric and len(self.names) > 1 else None
        self.texts = [i.name for i in signature.inputs if i.type == "category"]
        #: Columns of bytes, and where these go; None where there are none.
        self.payloads = [i.name for i in signature.inputs if i.type == "bytes"]
        self.memory = memory if self.payloads else None
        self.encode_columns = (
            PayloadEncoder(signature.inputs, self.memory).encode_columns
            if self.memory is not None
            else Encoder(signature).encode_columns
        )


@dataclass(frozen=True)
class Columns:
    """One sequence of values for each input, by name."""

    values: dict[str, Column]

    def encode(self, encoder: RowEncoder) -> Matrix:
        """The rows as a model's matrix. Raises RequestError naming the column and row."""
        try:
            return encoder.encode_columns(self.values)
        except BadData as error:
            raise RequestError(str(error)) from None


@dataclass(frozen=True)
class Rows:
    """Numbers in the order of the signature, `width` to a row, row after row in `flat`."""

    flat: Column
    width: int

    def encode(self, encoder: RowEncoder) -> Matrix:
        """The rows as a model's matrix. Raises RequestError."""
        names = encoder.names
        if self.width != len(names):
            takes = f"the model takes {len(names)}: {', '.join(names)}"
            raise RequestError(f"a row has {self.width} values", takes)
        if encoder.numeric:
            return self._matrix()
        return self.columns(names).encode(encoder)

    def columns(self, names: Sequence[str]) -> Columns:
        """The same values by column; there are as many `names` as values in a row."""
        return Columns({name: self.flat[i :: self.width] for i, name in enumerate(names)})

    def _matrix(self) -> Matrix:
        if isinstance(self.flat, np.ndarray):
            return self._copied(self.flat)
        if not _NUMBERS.issuperset(map(type, self.flat)):
            bad = next(i for i, value in enumerate(self.flat) if type(value) not in _NUMBERS)
            raise RequestError(f"row {bad // self.width}, value {bad % self.width} is not a number")
        try:
            return np.array(self.flat, dtype=np.float64).reshape(-1, self.width)
        except OverflowError:
            raise RequestError("an integer exceeds the range of float64") from None

    def _copied(self, flat: NDArray[Any]) -> Matrix:
        if flat.dtype.kind not in "fiu":
            raise RequestError("row 0, value 0 is not a number", f"it is a {flat.dtype}")
        return flat.astype(np.float64).reshape(-1, self.width)


class Grid:
    """Rows that are a matrix already, in the order of a signature that is all numbers."""

    __slots__ = ("matrix",)

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix

    def encode(self, encoder: RowEncoder) -> Matrix:
        """The rows for another signature. Raises RequestError."""
        return Rows(self.matrix.ravel(), self.matrix.shape[1]).encode(encoder)


Inputs = Columns | Rows | Grid
