"""Arrow tables into a model's matrix, by the same rules as `registry.models.signature`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from registry.errors import BadData
from registry.models.columns import Values, fits, read_column
from registry.models.signature import Input, Matrix, Signature, wrong_value


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
        matrix[:, position] = _checked(member, table.column(member.name))
    return matrix


def check_schema(signature: Signature, schema: pa.Schema, *, lenient: bool = False) -> None:
    """Raise BadData naming every input column that is absent, doubled or of an unfit type.

    `lenient` is that of `registry.models.columns.fits`.
    """
    faults = []
    for member in signature.inputs:
        found = schema.get_all_field_indices(member.name)
        if len(found) != 1:
            faults.append(f"{member.name} is {'there twice' if found else 'missing'}")
        elif not fits(member, schema.field(found[0]).type, lenient=lenient):
            faults.append(f"{member.name} is {schema.field(found[0]).type}, not {member.type}")
    if faults:
        raise BadData(
            "the table does not fit the model's signature",
            "; ".join(faults),
            f"The model takes {', '.join(signature.names)}.",
        )


def _checked(member: Input, column: pa.ChunkedArray | pa.Array) -> Values:
    """The numbers of a column, or BadData for the first row that breaks the signature."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    values, faults = read_column(member, column)
    for fault in faults:
        row = int(np.flatnonzero(fault.rows)[0])
        raise wrong_value(member, row, column[row].as_py(), fault.why)
    return values
