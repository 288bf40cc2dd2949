"""MLflow's scoring protocol: `POST /invocations` with JSON or CSV.

Specification: https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/ ("Inference
Server Specification"). A JSON body has exactly one of `dataframe_split`, `dataframe_records`,
`instances` and `inputs`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec

from registry.models.signature import Column, Signature
from serving.errors import RequestError, UnsupportedMedia
from serving.gateway.inputs import Columns, Grid, Inputs, Rows
from serving.gateway.protocols import mlflow_csv

#: The version of the protocol that `GET /version` names.
VERSION = "3.17.2"


class Split(msgspec.Struct):
    """A data frame as columns and rows."""

    data: list[list[Any]]
    columns: list[str] | None = None
    index: list[Any] | None = None


class Invocation(msgspec.Struct):
    """The body of a request; other keys are ignored, as in MLflow.

    So are `params`: MLflow drops those that a model does not declare, and no model here has any.
    """

    dataframe_split: Split | None = None
    dataframe_records: list[dict[str, Any]] | None = None
    instances: list[Any] | None = None
    inputs: list[Any] | dict[str, list[Any]] | None = None
    params: dict[str, Any] | None = None


_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_decode = msgspec.json.Decoder(Invocation).decode
_encode = msgspec.json.Encoder().encode


def read(body: bytes | bytearray, media_type: str, signature: Signature) -> Inputs:
    """The rows of a body of this type; no type means JSON.

    Raises:
        UnsupportedMedia: another type than JSON and CSV.
        RequestError: the body is not a request of this type; the message names the field.
    """
    if media_type in ("application/json", ""):
        return _with_bytes(inputs_of(parse(body), signature), signature)
    if media_type == "text/csv":
        return _with_bytes(mlflow_csv.read(body, signature), signature)
    raise UnsupportedMedia(
        f"a body of type {media_type[:80]!r} is not read here",
        "application/json and text/csv are",
        "Send the header Content-Type with one of them.",
    )


def parse(body: bytes | bytearray) -> Invocation:
    """Read a body. Raises RequestError naming the field."""
    try:
        invocation = _parsed(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise RequestError("the body is not a scoring request", str(error)) from None
    given = [name for name in _FORMS if getattr(invocation, name) is not None]
    if len(given) != 1:
        raise RequestError(
            f"the body has {len(given)} of the keys {', '.join(_FORMS)}",
            "exactly one must be there",
        )
    return invocation


def _parsed(body: bytes | bytearray) -> Invocation:
    """The body; `NaN`, which is no JSON but what MLflow's client writes for missing, is null."""
    try:
        return _decode(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if b"NaN" not in body:
            raise
    # Read once more, since Python's JSON takes halves of surrogate pairs, which no text can hold.
    return _decode(json.dumps(json.loads(body, parse_constant=_constant)))


def _constant(name: str) -> None:
    if name != "NaN":
        raise ValueError(f"{name} is not a number that a model takes")


def inputs_of(invocation: Invocation, signature: Signature) -> Inputs:
    """The rows of a request as its model names them. Raises RequestError."""
    if invocation.dataframe_split is not None:
        return _split(invocation.dataframe_split, signature)
    if isinstance(invocation.inputs, dict):
        return Columns({name: _column(name, v) for name, v in invocation.inputs.items()})
    rows = invocation.dataframe_records or invocation.instances or invocation.inputs or []
    if rows and isinstance(rows[0], dict):
        return _records(rows, signature)
    return _listed(rows, signature.names)


def _with_bytes(inputs: Inputs, signature: Signature) -> Inputs:
    """The rows with columns of bytes decoded: they come in base64, as MLflow's binary columns do."""
    binary = {member.name for member in signature.inputs if member.type == "bytes"}
    if not binary or isinstance(inputs, Grid):
        return inputs
    if isinstance(inputs, Rows):
        if inputs.width != len(signature.names):
            return inputs
        inputs = inputs.columns(signature.names)
    values = inputs.values
    return Columns({n: _decoded(n, v) if n in binary else v for n, v in values.items()})


def _decoded(name: str, column: Column) -> list[Any]:
    """The bytes of a column; what is no text is left for the encoder to refuse."""
    decoded = []
    for row, value in enumerate(column):
        try:
            text = isinstance(value, str)
            decoded.append(base64.b64decode(value, validate=True) if text else value)
        except ValueError:
            raise RequestError(f"input {name[:80]!r}, row {row}: the text is not base64") from None
    return decoded


def _column(name: str, values: list[Any]) -> list[Any]:
    """A named tensor of shape [n] or [n, 1], flat."""
    if not values or type(values[0]) is not list:
        return values
    if not all(type(row) is list and len(row) == 1 for row in values):
        raise RequestError(f"input {name[:80]!r} must have the shape [n] or [n, 1]")
    return [row[0] for row in values]


def _split(split: Split, signature: Signature) -> Inputs:
    names = signature.names if split.columns is None else tuple(split.columns)
    if len(set(names)) != len(names):
        raise RequestError("dataframe_split.columns names a column twice")
    if names == signature.names:
        return _listed(split.data, names)
    _check_widths(split.data, len(names))
    return Columns({name: [row[i] for row in split.data] for i, name in enumerate(names)})


def _records(rows: list[Any], signature: Signature) -> Columns:
    expected = set(signature.names)
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or row.keys() != expected:
            names = row if isinstance(row, dict) else ()
            missing = ", ".join(name for name in signature.names if name not in names)
            unknown = ", ".join(sorted(set(names) - expected))
            raise RequestError(
                f"record {number} does not fit the model's signature",
                f"missing: {missing or 'none'}; unknown: {unknown or 'none'}",
            )
    return Columns({name: [row[name] for row in rows] for name in signature.names})


def _listed(rows: Sequence[Any], names: tuple[str, ...]) -> Rows:
    if rows and not isinstance(rows[0], list):
        if len(names) > 1:
            raise RequestError("row 0 is neither a list of values nor an object with columns")
        rows = [[value] for value in rows]
    _check_widths(rows, len(names))
    return Rows(list(chain.from_iterable(rows)), len(names))


def _check_widths(rows: Sequence[Any], width: int) -> None:
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != width:
            length = f"{len(row)} values" if isinstance(row, list) else "no list"
            raise RequestError(f"row {number} is {length}", f"the model takes {width}")
