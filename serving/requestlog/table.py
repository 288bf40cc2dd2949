"""Records of one version as an Arrow table, typed as the model's signature says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from registry import requestlog as names
from registry.models.signature import Input, Matrix, Signature
from serving.requestlog.record import Record


class Shape:
    """The columns of a version's files. `omitted` are names of inputs of whatever model."""

    def __init__(self, signature: Signature, omitted: Sequence[str]) -> None:
        self.signature = signature
        self.omitted = names.left_out(signature.names, omitted)
        self._kept = [
            (place, member)
            for place, member in enumerate(signature.inputs)
            if member.name not in self.omitted
        ]
        self._texts = [member.name for member in signature.inputs if member.type == "category"]

    def fits(self, record: Record) -> bool:
        """Whether a record is of this signature."""
        inputs, outputs = 8 * len(self.signature.inputs), 8 * len(self.signature.outputs)
        return (
            record.rows > 0
            and len(record.inputs) == record.rows * inputs
            and len(record.outputs) in (0, record.rows * outputs)
            and [len(column) for column in record.texts] == [record.rows] * len(self._texts)
        )

    def table(self, records: Sequence[Record]) -> pa.Table:
        """One row for each row of the records, which fit."""
        columns = _known(records) | self._inputs(records) | self._outputs(records)
        metadata = {
            names.SIGNATURE: msgspec.json.encode(self.signature),
            names.OMITTED: json.dumps(self.omitted),
        }
        return pa.table(columns).replace_schema_metadata(metadata)

    def _inputs(self, records: Sequence[Record]) -> dict[str, pa.Array]:
        matrix = _matrix([record.inputs for record in records], len(self.signature.inputs))
        found: dict[str, pa.Array] = {}
        for place, member in self._kept:
            if member.type == "category":
                which = self._texts.index(member.name)
                found[member.name] = _texts([record.texts[which] for record in records])
            else:
                found[member.name] = _numbers(member, matrix[:, place])
        return found

    def _outputs(self, records: Sequence[Record]) -> dict[str, pa.Array]:
        width = len(self.signature.outputs)
        # An answer may be NaN, but never absent: what is absent was not computed.
        absent = np.repeat([not record.outputs for record in records], _counts(records))
        filled = [record.outputs or bytes(8 * width * record.rows) for record in records]
        matrix = _matrix(filled, width)
        return {
            names.OUTPUT + output.name: pa.array(np.ascontiguousarray(matrix[:, i]), mask=absent)
            for i, output in enumerate(self.signature.outputs)
        }


def _known(records: Sequence[Record]) -> dict[str, pa.Array]:
    """What is ours to tell of each row."""
    counts = _counts(records)

    def each(values: list[Any], kind: pa.DataType) -> pa.Array:
        return pa.array(values, kind).take(pa.array(np.repeat(np.arange(len(records)), counts)))

    def text(values: list[str]) -> pa.Array:
        return each(values, pa.string()).dictionary_encode()

    times = [round(record.time * 1e6) for record in records]
    rows = [np.arange(record.row, record.row + record.rows, dtype=np.int32) for record in records]
    return {
        names.TIME: each(times, pa.timestamp("us", "UTC")),
        names.REQUEST: each([record.request for record in records], pa.string()),
        names.ROW: pa.array(np.concatenate(rows)),
        names.MODEL: text([record.model for record in records]),
        names.VERSION: text([record.version for record in records]),
        names.REVISION: each([record.revision for record in records], pa.int64()),
        names.STATUS: each([record.status for record in records], pa.int16()),
        names.LATENCY: each([1e3 * record.latency for record in records], pa.float64()),
    }


def _counts(records: Sequence[Record]) -> list[int]:
    return [record.rows for record in records]


def _matrix(parts: list[bytes], width: int) -> Matrix:
    return np.frombuffer(b"".join(parts)).reshape(-1, width)


def _numbers(member: Input, values: Matrix) -> pa.Array:
    """A column as the model read it; NaN is what was missing."""
    missing = np.isnan(values)
    if member.type == "float64":
        return pa.array(np.ascontiguousarray(values), mask=missing)
    kind = np.int64 if member.type == "int64" else np.bool_
    return pa.array(np.where(missing, 0, values).astype(kind), mask=missing)


def _texts(columns: Sequence[list[str | None]]) -> pa.Array:
    return pa.array(
        [text for column in columns for text in column], pa.string()
    ).dictionary_encode()
