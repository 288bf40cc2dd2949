"""The CSV form of MLflow's scoring protocol: a header with the columns, then one line for each row.

It is read as `DataFrame.to_csv(index=False)` writes it; an empty field is a missing value.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

from registry.models.signature import Input, Signature
from serving.errors import RequestError
from serving.gateway.inputs import Columns

_BOOLEANS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}


def read(body: bytes | bytearray, signature: Signature) -> Columns:
    """The columns of a CSV text. Raises RequestError naming the line or the column and row."""
    header, *rows = _lines(body)
    if len(set(header)) != len(header):
        raise RequestError("the header names a column twice")
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise RequestError(
                f"row {number} has {len(row)} fields", f"the header names {len(header)}"
            )
    members = {member.name: member for member in signature.inputs}
    fields = zip(header, zip(*rows, strict=True) if rows else [()] * len(header), strict=True)
    return Columns({name: _values(members.get(name), column) for name, column in fields})


def _lines(body: bytes | bytearray) -> list[list[str]]:
    """The fields of each line that is not empty; the header is the first."""
    try:
        text = str(body, "utf-8-sig")
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError("the body is not CSV in UTF-8", str(error)) from None
    if not lines:
        raise RequestError("the body is empty", "CSV starts with a header that names the columns")
    return lines


def _values(member: Input | None, column: Sequence[str]) -> list[Any]:
    if member is None or member.type in ("category", "bytes"):
        return [field or None for field in column]
    parse = _PARSERS[member.type]
    return [_value(member, row, field.strip(), parse) for row, field in enumerate(column)]


def _value(member: Input, row: int, field: str, parse: Callable[[str], Any]) -> Any:
    if not field:
        return None
    try:
        return parse(field)
    except (ValueError, KeyError):
        raise RequestError(
            f"input {member.name!r}, row {row}: {field[:60]!r} is not a {member.type}"
        ) from None


def _number(field: str) -> float:
    if "_" in field:
        # Python takes 1_000 for a number; nobody who writes CSV does.
        raise ValueError(field)
    return float(field)


def _integer(field: str) -> float | int:
    """An integer; `3.0` is what a frame writes whose column has a missing value."""
    return int(field) if field.lstrip("+-").isdecimal() else _number(field)


_PARSERS: dict[str, Callable[[str], Any]] = {
    "float64": _number,
    "int64": _integer,
    "bool": lambda field: _BOOLEANS[field.lower()],
}
