"""Arrow tables into a model's matrix, by the same rules as `registry.models.signature`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from registry.errors import BadData
from registry.models.signature import (
    Input,
    Matrix,
    Signature,
    checked_booleans,
    checked_integers,
    checked_missing,
    wrong_value,
)


def encode_table(signature: Signature, table: pa.Table | pa.RecordBatch) -> Matrix:
    """Encode the columns of `table` that are inputs of `signature`; others are left alone.

    Returns:
        float64 of shape (rows, inputs), C-contiguous.

    Raises:
        BadData: input columns are absent or of the wrong type, or a value breaks the signature.
    """
    check_schema(signature, table.schema)
    matrix = np.empty((table.num_rows, len(signature.inputs)), dtype=np.float64)
    for position, member in enumerate(signature.inputs):
        matrix[:, position] = _encode(member, table.column(member.name))
    return matrix


def check_schema(signature: Signature, schema: pa.Schema) -> None:
    """Raise BadData naming every input column that is absent, doubled or of an unfit type."""
    faults = []
    for member in signature.inputs:
        found = schema.get_all_field_indices(member.name)
        if len(found) != 1:
            faults.append(f"{member.name} is {'there twice' if found else 'missing'}")
        elif not _fits(member, schema.field(found[0]).type):
            faults.append(f"{member.name} is {schema.field(found[0]).type}, not {member.type}")
    if faults:
        raise BadData(
            "the table does not fit the model's signature",
            "; ".join(faults),
            f"The model takes {', '.join(signature.names)}.",
        )


def _fits(member: Input, found: pa.DataType) -> bool:
    if pa.types.is_null(found):
        return True
    if member.type == "category":
        value = found.value_type if pa.types.is_dictionary(found) else found
        return bool(pa.types.is_string(value) or pa.types.is_large_string(value))
    number = pa.types.is_integer(found) or pa.types.is_floating(found)
    return bool(number or (member.type == "bool" and pa.types.is_boolean(found)))


def _encode(member: Input, column: pa.ChunkedArray | pa.Array) -> Matrix:
    if member.type == "category":
        return checked_missing(member, _codes(member, column))
    if pa.types.is_boolean(column.type):
        column = pc.cast(column, pa.uint8())
    # safe=False: int64 beyond 2**53 rounds here exactly as numpy rounds it in `encode_columns`.
    values = np.asarray(
        pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        if isinstance(column, pa.Array)
        else pc.cast(column, pa.float64(), safe=False).to_numpy()
    )
    if member.type == "int64":
        values = checked_integers(member, values)
    if member.type == "bool":
        values = checked_booleans(member, values)
    return checked_missing(member, values)


def _codes(member: Input, column: pa.ChunkedArray | pa.Array) -> Matrix:
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    vocabulary = pa.array(member.categories or (), pa.string())
    texts = pc.cast(column, pa.string())
    codes = pc.index_in(texts, value_set=vocabulary)
    unseen = pc.and_(pc.is_null(codes), pc.is_valid(texts))
    if member.unseen == "error" and pc.any(unseen).as_py():
        row = pc.index(unseen, True).as_py()
        value = texts[row].as_py()
        raise wrong_value(member, row, value, "the model has not seen this category")
    floats = pc.cast(codes, pa.float64())
    return np.asarray(
        floats.to_numpy(zero_copy_only=False) if isinstance(floats, pa.Array) else floats.to_numpy()
    )
