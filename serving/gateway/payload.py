"""From columns to the rows of a stage before the model: numbers as they are, bytes by their place."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from registry.models.signature import (
    Column,
    Input,
    Matrix,
    column_encoder,
    common_length,
    wrong_names,
    wrong_value,
)
from registry.models.stages import width_of
from serving.payloads import PayloadMemory

Bytes = bytes | bytearray | memoryview


class PayloadEncoder:
    """Encodes for a stage with these `inputs`.

    A number takes one column of the matrix. Bytes take two: where they begin in `memory`, and how many
    they are; NaN where they are missing. They lie there as long as the matrix, or a part of it, lives.
    """

    def __init__(self, inputs: Sequence[Input], memory: PayloadMemory) -> None:
        self._inputs = inputs
        self._names = tuple(member.name for member in inputs)
        self._memory = memory
        self._encoders = {m.name: column_encoder(m) for m in inputs if m.type != "bytes"}

    def encode_columns(self, columns: Mapping[str, Column]) -> Matrix:
        """The rows as a matrix of shape (rows, `width_of(inputs)`).

        Raises:
            BadData: see `Encoder.encode_columns`.
            BodyTooLarge, Overloaded: there is no room for the bytes; see `PayloadMemory.take`.
        """
        if columns.keys() != set(self._names):
            raise wrong_names(self._names, columns)
        matrix = np.empty((common_length(columns), width_of(self._inputs)))
        places: list[tuple[int, list[Bytes | None]]] = []
        at = 0
        for member in self._inputs:
            if member.type == "bytes":
                places.append((at, checked(member, columns[member.name])))
                at += 2
            else:
                matrix[:, at] = self._encoders[member.name](columns[member.name])
                at += 1
        if places:
            self._store(matrix, places)
        return matrix

    def _store(self, matrix: Matrix, places: list[tuple[int, list[Bytes | None]]]) -> None:
        """Copy the bytes into the memory, and write into the matrix where they are."""
        size = sum(len(value) for _, values in places for value in values if value is not None)
        start, view = self._memory.take(size)
        weakref.finalize(matrix, self._memory.free, start, size).atexit = False
        end = 0
        with view:
            for column, values in places:
                for row, value in enumerate(values):
                    if value is None:
                        matrix[row, column : column + 2] = np.nan
                        continue
                    begin, end = end, end + len(value)
                    view[begin:end] = value
                    matrix[row, column] = start + begin
                    matrix[row, column + 1] = len(value)


def checked(member: Input, column: Column) -> list[Bytes | None]:
    """The values as bytes, text as UTF-8; BadData where one is neither."""
    values: Sequence[Any] = column.tolist() if isinstance(column, np.ndarray) else column
    return [_bytes(member, row, value) for row, value in enumerate(values)]


def _bytes(member: Input, row: int, value: Any) -> Bytes | None:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return value
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise wrong_value(member, row, value, "it is no text in UTF-8") from None
    if value is None and member.missing == "nan":
        return None
    raise wrong_value(member, row, value, f"got {type(value).__name__}, expected bytes or text")
