"""One Arrow column as the numbers a model reads, and which of its rows break the signature."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from registry.models.signature import EXACT_INTEGER, Input

Values: TypeAlias = "NDArray[np.float64] | NDArray[np.float32]"
Mask: TypeAlias = "NDArray[np.bool_]"

#: What a text is read as a number by; no infinity, no NaN, no spaces.
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


class Fault(NamedTuple):
    """Rows of a column that break the signature, and in what way."""

    rows: Mask
    why: str


def read_column(member: Input, column: pa.Array) -> tuple[Values, list[Fault]]:
    """The numbers of `column`, NaN where there is none, and what is wrong with some of them.

    Floats keep their width. The column has a type that `fits` the member.
    """
    values, faults = (
        _codes(member, column) if member.type == "category" else _numbers(member, column)
    )
    if member.missing == "error":
        faulty = np.logical_or.reduce([fault.rows for fault in faults]) if faults else False
        absent = np.isnan(values) & ~np.asarray(faulty)
        faults += _fault(absent, "a value is required")
    return values, faults


def fits(member: Input, found: pa.DataType, *, lenient: bool = False) -> bool:
    """Whether a column of type `found` can be read as `member`.

    With `lenient`, texts stand for numbers and bytes for texts, as far as they are such.
    """
    if pa.types.is_null(found):
        return True
    value = found.value_type if pa.types.is_dictionary(found) else found
    text = pa.types.is_string(value) or pa.types.is_large_string(value)
    if member.type == "category":
        return bool(text or (lenient and _is_bytes(value)))
    number = pa.types.is_integer(found) or pa.types.is_floating(found)
    return bool(
        number or (member.type == "bool" and pa.types.is_boolean(found)) or (lenient and text)
    )


def _numbers(member: Input, column: pa.Array) -> tuple[Values, list[Fault]]:
    faults: list[Fault] = []
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column, faults = _parsed(column)
    if pa.types.is_boolean(column.type):
        column = pc.cast(column, pa.uint8())
    whole = pa.types.is_integer(column.type)
    values = _floats(column)
    if member.type == "int64" and not (whole and column.type.bit_width < 64):
        faults += _fault(~_is_exact(values), "expected an integer up to 2**53")
    if member.type == "bool":
        fine = (values == 0) | (values == 1) | np.isnan(values)
        faults += _fault(~fine, "expected true or false")
    return values, faults


def _floats(column: pa.Array) -> Values:
    # safe=False: int64 beyond 2**53 rounds here exactly as numpy rounds it in `encode_columns`.
    if column.type not in (pa.float32(), pa.float64()):
        column = pc.cast(column, pa.float64(), safe=False)
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _is_exact(values: Values) -> Mask:
    with np.errstate(invalid="ignore"):
        whole = (np.abs(values) <= EXACT_INTEGER) & (np.trunc(values) == values)
    return np.asarray(whole | np.isnan(values))


def _parsed(column: pa.Array) -> tuple[pa.Array, list[Fault]]:
    """The numbers that the texts say."""
    column, faults = _decoded(column)
    fine = pc.match_substring_regex(column, _NUMBER)
    wrong = np.asarray(pc.invert(pc.fill_null(fine, True)))
    numbers = pc.cast(pc.if_else(fine, column, None), pa.float64())
    return numbers, [*faults, *_fault(wrong, "expected a number")]


def _codes(member: Input, column: pa.Array) -> tuple[Values, list[Fault]]:
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    column, faults = _decoded(column)
    vocabulary = pa.array(member.categories or (), pa.string())
    texts = pc.cast(column, pa.string())
    codes = pc.index_in(texts, value_set=vocabulary)
    if member.unseen == "error":
        unseen = pc.and_(pc.is_null(codes), pc.is_valid(texts))
        faults += _fault(np.asarray(unseen), "the model has not seen this category")
    return _floats(codes), faults


def _decoded(column: pa.Array) -> tuple[pa.Array, list[Fault]]:
    """Texts, null where bytes are none; Parquet does not check what is in a column of texts."""
    if pa.types.is_null(column.type):
        return column.cast(pa.string()), []
    raw = column if _is_bytes(column.type) else column.cast(pa.large_binary())
    try:
        return raw.cast(
            pa.large_string() if pa.types.is_large_binary(raw.type) else pa.string()
        ), []
    except pa.ArrowInvalid:
        wrong = np.array([value is not None and not _is_text(value) for value in raw.to_pylist()])
        kept = pc.if_else(pa.array(wrong), None, raw)
        return kept.cast(pa.large_string()), [Fault(wrong, "expected text in UTF-8")]


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _fault(rows: Mask, why: str) -> list[Fault]:
    return [Fault(rows, why)] if rows.any() else []
