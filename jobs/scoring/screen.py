"""Rows of a batch into a model's matrix, those that are bad left out and told of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from registry.models.columns import Fault, Values, read_column
from registry.models.signature import Matrix, Signature

#: Rows that are turned from columns into rows at once: what they hold stays in the cache.
_BLOCK = 4096


class Bad(NamedTuple):
    """A value that makes a row bad: the row within its batch, the column, and why."""

    row: int
    column: str
    reason: str


@dataclass(frozen=True)
class Screened:
    """Columns of the inputs, which rows are `good` (None: all), and what was wrong with others."""

    columns: Sequence[Values]
    good: NDArray[np.bool_] | None
    bad: Sequence[Bad]

    def matrix(self, columnar: bool) -> Matrix:
        """The good rows: float64, row by row, or float32, column by column."""
        columns = self.columns
        if self.good is not None:
            columns = [values[self.good] for values in columns]
        return _by_column(columns) if columnar else _by_row(columns)

    def keep(self, column: pa.Array) -> pa.Array:
        """The good rows of another column."""
        return column if self.good is None else column.filter(pa.array(self.good))


def screen(
    signature: Signature, batch: pa.RecordBatch, ids: Iterable[str], infinite: Collection[str]
) -> Screened:
    """Read the inputs of `signature`, and find the rows that must not be scored.

    A row is bad where an id is null, where a value breaks the signature, or where a number is
    infinite and its input is none of `infinite`.
    """
    columns: list[Values] = []
    faults: list[tuple[str, Fault]] = []
    for name in dict.fromkeys(ids):
        column = batch.column(name)
        if column.null_count:
            faults.append((name, Fault(np.asarray(column.is_null()), "an id is required")))
    for member in signature.inputs:
        values, found = read_column(member, batch.column(member.name))
        columns.append(values)
        faults += [(member.name, fault) for fault in found]
        if member.type != "category" and member.name not in infinite:
            faults += [(member.name, fault) for fault in _infinities(values)]
    if not faults:
        return Screened(columns, None, ())
    rows = np.logical_or.reduce([fault.rows for _, fault in faults])
    return Screened(columns, ~rows, list(_bad(batch, faults)))


def _infinities(values: Values) -> Iterator[Fault]:
    rows = np.isinf(values)
    if rows.any():
        yield Fault(rows, "infinity is not declared")


def _bad(batch: pa.RecordBatch, faults: Iterable[tuple[str, Fault]]) -> Iterator[Bad]:
    for name, fault in faults:
        column = batch.column(name)
        for row in np.flatnonzero(fault.rows).tolist():
            yield Bad(row, name, f"{shown(column, row)}: {fault.why}")


def shown(column: pa.Array, row: int) -> str:
    """A value as people are shown it, however broken."""
    value: Any
    try:
        value = column[row].as_py()
    except UnicodeDecodeError:
        value = column[row].cast(pa.binary()).as_py()
    return repr(value)[:60]


def _by_column(columns: Sequence[Values]) -> Matrix:
    matrix = np.empty((len(columns[0]), len(columns)), dtype=np.float32, order="F")
    with np.errstate(over="ignore"):
        for position, values in enumerate(columns):
            matrix[:, position] = values
    return matrix  # type: ignore[return-value]  # what a columnar predictor asks for


def _by_row(columns: Sequence[Values]) -> Matrix:
    rows = len(columns[0])
    matrix = np.empty((rows, len(columns)), dtype=np.float64)
    for start in range(0, rows, _BLOCK):
        block = matrix[start : start + _BLOCK]
        for position, values in enumerate(columns):
            block[:, position] = values[start : start + _BLOCK]
    return matrix


def identity(batch: pa.RecordBatch, ids: Sequence[str], row: int) -> str | None:
    """The ids of a row as one text; None where it has none."""
    found = [batch.column(name)[row].as_py() for name in ids]
    known = [str(value) for value in found if value is not None]
    return ", ".join(known) or None
