"""What a model reads and writes: ordered, typed inputs and named outputs.

Every predictor sees one matrix, float64 of shape (rows, inputs), whatever its library. A category
is its index in the input's vocabulary; what is missing is NaN. Training, batch scoring and online
requests all come through here, so they cannot disagree about an encoding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from registry.errors import BadData

Matrix = NDArray[np.float64]
Column = Sequence[Any] | NDArray[Any]

#: Above this, float64 no longer holds every integer.
EXACT_INTEGER = 2**53
_NONE = type(None)
_REAL = {float, int, _NONE, np.float64, np.float32, np.int64, np.int32}
_BOOL = _REAL | {bool, np.bool_}
_TEXT = {str, np.str_, _NONE}


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input of a model.

    `unseen` says what a category outside the vocabulary is: "missing" (NaN) or an "error".
    `missing` says whether an absent value becomes "nan" or is an "error". `bytes` are for stages: no
    model's matrix holds them.
    """

    name: str
    type: Literal["float64", "int64", "bool", "category", "bytes"] = "float64"
    categories: tuple[str, ...] | None = None
    unseen: Literal["missing", "error"] = "missing"
    missing: Literal["nan", "error"] = "nan"

    def __post_init__(self) -> None:
        if not self.name:
            raise _malformed("an input has no name")
        if (self.type == "category") != (self.categories is not None):
            raise _malformed(f"input {self.name!r}: a vocabulary belongs to a category, only")
        if self.categories is not None and len(set(self.categories)) != len(self.categories):
            raise _malformed(f"input {self.name!r} lists a category twice")


class Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One output of a model, a float64 such as the probability of the label."""

    name: str
    type: Literal["float64"] = "float64"


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The inputs of a model, in the order of its matrix columns, and its outputs."""

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]

    def __post_init__(self) -> None:
        for kind, members in (("input", self.inputs), ("output", self.outputs)):
            names = [member.name for member in members]
            if not names or len(set(names)) != len(names):
                raise _malformed(f"{kind} names must be unique, and at least one: {names}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return tuple(member.name for member in self.inputs)


class Encoder:
    """Turns named columns into a model's matrix. Make one per signature and keep it."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self._names = frozenset(signature.names)
        self._encoders = [(member, column_encoder(member)) for member in signature.inputs]

    def encode_columns(self, columns: Mapping[str, Column]) -> Matrix:
        """Encode columns of equal length, one per input, into a C-contiguous matrix.

        Raises:
            BadData: columns are missing, unknown, of unequal length, or hold a value that the
                input does not take; the message names the column and the row (from 0).
        """
        self.check_names(columns)
        rows = common_length(columns)
        matrix = np.empty((rows, len(self._encoders)), dtype=np.float64)
        for position, (member, encode) in enumerate(self._encoders):
            matrix[:, position] = encode(columns[member.name])
        return matrix

    def encode_rows(self, rows: Sequence[Mapping[str, Any]]) -> Matrix:
        """Encode rows, each a mapping with every input. Raises BadData like `encode_columns`."""
        for row in rows:
            self.check_names(row)
        return self.encode_columns({n: [row[n] for row in rows] for n in self.signature.names})

    def check_names(self, names: Mapping[str, Any]) -> None:
        """Raise BadData naming the inputs that are absent and the names that are no input."""
        if names.keys() != self._names:
            raise wrong_names(self.signature.names, names)


def encode_columns(signature: Signature, columns: Mapping[str, Column]) -> Matrix:
    """Encode once; see `Encoder.encode_columns`, which is cheaper for many calls."""
    return Encoder(signature).encode_columns(columns)


def common_length(columns: Mapping[str, Column]) -> int:
    """The number of rows of `columns`, or BadData where they differ in it."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise BadData("columns differ in length", str(lengths), "Send one value per row.")
    return next(iter(lengths.values()))


def wrong_names(expected: Sequence[str], names: Mapping[str, Any]) -> BadData:
    """The error for columns that are not the `expected` ones: what is missing, what is unknown."""
    missing = [name for name in expected if name not in names]
    unknown = sorted(map(str, names.keys() - set(expected)))
    parts = [f"missing: {', '.join(missing)}"] if missing else []
    parts += [f"unknown: {', '.join(unknown)}"] if unknown else []
    return BadData(
        "the columns are not those of the model's signature",
        "; ".join(parts),
        f"It takes {', '.join(expected)}.",
    )


def checked_missing(member: Input, values: Matrix) -> Matrix:
    """The encoded `values`, or BadData where the input takes no missing value and one is NaN."""
    if member.missing == "error":
        absent = np.flatnonzero(np.isnan(values))
        if absent.size:
            raise wrong_value(member, int(absent[0]), None, "a value is required")
    return values


def checked_integers(member: Input, values: Matrix) -> Matrix:
    """The `values`, or BadData where one is neither NaN nor an integer that float64 holds."""
    with np.errstate(invalid="ignore"):
        whole = (np.abs(values) <= EXACT_INTEGER) & (np.trunc(values) == values)
    _raise_unless(whole | np.isnan(values), member, values, "expected an integer up to 2**53")
    return values


def checked_booleans(member: Input, values: Matrix) -> Matrix:
    """The `values`, or BadData where one is none of 0, 1 and NaN."""
    fine = (values == 0) | (values == 1) | np.isnan(values)
    _raise_unless(fine, member, values, "expected true or false")
    return values


def wrong_value(member: Input, row: int, value: object, why: str) -> BadData:
    """The error for one value of the input `member`."""
    return BadData(
        f"input {member.name!r}, row {row}: {str(value)[:60]!r} is not a {member.type}",
        why,
        "Correct the value or leave it out." if member.missing == "nan" else "Correct the value.",
    )


def column_encoder(member: Input) -> Callable[[Column], Matrix]:
    """How the values of one input become numbers; it raises BadData like `encode_columns`.

    Raises:
        BadData: the input is of bytes, which are no numbers.
    """
    if member.type == "bytes":
        raise _malformed(f"input {member.name!r} is of bytes, which only a stage takes")
    encode = _encoder(member)
    return lambda column: checked_missing(member, encode(column))


def _encoder(member: Input) -> Callable[[Column], Matrix]:
    if member.type == "category":
        return _category_encoder(member)
    check = {"int64": checked_integers, "bool": checked_booleans}.get(member.type)
    types = _BOOL if member.type == "bool" else _REAL
    if check is None:
        return lambda column: _numbers(member, column, types)
    return lambda column: check(member, _numbers(member, column, types))


def _numbers(member: Input, column: Column, types: set[type]) -> Matrix:
    if isinstance(column, np.ndarray):
        if column.dtype.kind in ("fiub" if bool in types else "fiu"):
            return column.astype(np.float64)
        column = column.tolist()
    if not types.issuperset(map(type, column)):
        row = next(i for i, value in enumerate(column) if type(value) not in types)
        raise wrong_value(member, row, column[row], f"got {type(column[row]).__name__}")
    try:
        return np.array(column, dtype=np.float64)  # None becomes NaN
    except OverflowError:
        row = next(i for i, v in enumerate(column) if isinstance(v, int) and abs(v) > 2**1023)
        raise wrong_value(member, row, "integer", "it exceeds the range of float64") from None


def _category_encoder(member: Input) -> Callable[[Column], Matrix]:
    codes: dict[str | None, float] = {c: float(i) for i, c in enumerate(member.categories or ())}
    codes[None] = float("nan")
    strict = member.unseen == "error"

    def encode(column: Column) -> Matrix:
        values = _texts(member, column)
        if strict and not codes.keys() >= set(values):
            row = next(i for i, value in enumerate(values) if value not in codes)
            raise wrong_value(member, row, values[row], "the model has not seen this category")
        return np.array([codes.get(v, np.nan) for v in values], dtype=np.float64)

    return encode


def _texts(member: Input, column: Column) -> Sequence[Any]:
    values: Sequence[Any] = column.tolist() if isinstance(column, np.ndarray) else column
    if _TEXT.issuperset(map(type, values)):
        return values
    # Frames hold NaN where a text is missing.
    values = [None if isinstance(v, float) and math.isnan(v) else v for v in values]
    for row, value in enumerate(values):
        if type(value) not in _TEXT:
            raise wrong_value(member, row, value, f"got {type(value).__name__}, expected text")
    return values


def _raise_unless(fine: NDArray[np.bool_], member: Input, values: Matrix, why: str) -> None:
    if not fine.all():
        row = int(np.flatnonzero(~fine)[0])
        raise wrong_value(member, row, values[row], why)


def _malformed(why: str) -> BadData:
    return BadData("the signature is malformed", why, "Write the bundle again.")
