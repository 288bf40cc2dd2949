"""The Open Inference Protocol: requests and answers with JSON tensors.

Specification: https://github.com/kserve/open-inference-protocol (protocol/inference_rest.md).
An input may come as one tensor per column, shape [n] or [n, 1], or, where every column is a
number, as a single tensor of shape [n, columns].
"""

from __future__ import annotations

from itertools import chain
from math import prod
from typing import Any

import msgspec
import numpy as np

from registry.models.signature import Matrix, Signature
from serving.errors import RequestError
from serving.gateway.inputs import Columns, Inputs, RowEncoder, Rows
from serving.gateway.protocols import tensors
from serving.gateway.protocols.tensors import Values
from serving.gateway.served import Served


class Tensor(msgspec.Struct):
    """One named input. `data` is None where its bytes come apart from the JSON."""

    name: str
    shape: list[int]
    datatype: str
    data: Any = None
    parameters: dict[str, Any] = {}


class Wanted(msgspec.Struct):
    """One output that the client asks for."""

    name: str
    parameters: dict[str, Any] = {}


#: Microseconds beyond which any number means the same; JSON has numbers that no float holds.
_LONGEST = 10**15


class InferRequest(msgspec.Struct):
    """The body of a request."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] = {}
    outputs: list[Wanted] | None = None

    @property
    def timeout(self) -> float | None:
        """Seconds that the client is ready to wait (`parameters.timeout`, in µs), if it says so."""
        value = self.parameters.get("timeout")
        if value is None or value == 0:
            return None
        if type(value) is not int or value < 0:
            raise RequestError("parameters.timeout must be a whole number of microseconds")
        return min(value, _LONGEST) / 1e6

    @property
    def priority(self) -> int:
        """The queue: 0 for `parameters.priority` 1, otherwise 1."""
        value = self.parameters.get("priority", 0)
        if type(value) is not int or value < 0:
            raise RequestError("parameters.priority must be a whole number, 1 being the highest")
        return 0 if value == 1 else 1


_decode = msgspec.json.Decoder(InferRequest).decode
_encode = msgspec.json.Encoder().encode


def parse(body: bytes | bytearray) -> InferRequest:
    """Read a body. Raises RequestError naming the field."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError("the body is not an inference request", str(error)) from None


def inputs_of(request: InferRequest, encoder: RowEncoder) -> Inputs:
    """The rows of a request as its model names them. Raises RequestError naming the input."""
    given = request.inputs
    if len(given) == 1 and len(given[0].shape) == 2 and _is_matrix(given[0], encoder):
        return _rows(given[0], encoder)
    values = {tensor.name: _column(tensor, encoder) for tensor in given}
    if len(values) != len(given):
        raise RequestError("an input is there twice")
    for tensor in given:
        as_bytes = tensor.name in encoder.texts or tensor.name in encoder.payloads
        if tensor.name in encoder.names and (tensor.datatype == "BYTES") != as_bytes:
            takes = "BYTES" if as_bytes else "numbers"
            raise RequestError(
                f"input {tensor.name!r} is {tensor.datatype}, the model takes {takes}"
            )
    return Columns(values)


def _is_matrix(tensor: Tensor, encoder: RowEncoder) -> bool:
    return len(encoder.names) > 1 or tensor.name != encoder.names[0]


def _rows(tensor: Tensor, encoder: RowEncoder) -> Rows:
    if encoder.texts or encoder.payloads:
        raise RequestError(
            f"input {tensor.name!r} cannot hold the columns "
            f"{', '.join([*encoder.texts, *encoder.payloads])}",
            "",
            "Send one input per column, text and bytes as BYTES.",
        )
    if tensor.datatype not in tensors.NUMERIC:
        raise RequestError(f"input {tensor.name!r}: datatype {tensor.datatype[:20]!r} is no number")
    return Rows(_flat(tensor), tensor.shape[1])


def _column(tensor: Tensor, encoder: RowEncoder) -> Values:
    tensors.check_datatype(tensor.name, tensor.datatype)
    if len(tensor.shape) not in (1, 2) or tensor.shape[1:] not in ([], [1]):
        raise RequestError(f"input {tensor.name!r} must have the shape [n] or [n, 1]")
    values = _flat(tensor)
    if tensor.datatype == "BYTES" and tensor.name not in encoder.payloads:
        return tensors.texts(tensor.name, values)
    return values


def _flat(tensor: Tensor) -> Values:
    """The values in row-major order, whether they were nested or not."""
    data = tensor.data
    if isinstance(data, np.ndarray):
        return data
    if type(data) is not list:
        raise RequestError(f"input {tensor.name!r} needs data, a list of values")
    for _ in tensor.shape[1:]:
        if data and type(data[0]) is list:
            if not all(type(row) is list for row in data):
                raise RequestError(f"input {tensor.name!r}: data is nested unevenly")
            data = list(chain.from_iterable(data))
    if any(size < 0 for size in tensor.shape) or len(data) != prod(tensor.shape):
        raise RequestError(
            f"input {tensor.name!r} has {len(data)} values", f"its shape is {tensor.shape}"
        )
    tensors.check_integers(tensor.name, tensor.datatype, data)
    return data


def check_outputs(request: InferRequest, signature: Signature) -> None:
    """Raise RequestError if the client asks for an output that the model does not have."""
    known = [output.name for output in signature.outputs]
    for wanted in request.outputs or ():
        if wanted.name not in known:
            raise RequestError(
                f"the model has no output {wanted.name[:80]!r}", f"it has {', '.join(known)}"
            )


def outputs(served: Served, request: InferRequest, result: Matrix) -> list[dict[str, Any]]:
    """The outputs that `request` asks for, all if it names none; their data is still an array."""
    made: list[dict[str, Any]] = [
        {"name": output.name, "datatype": "FP64", "shape": [len(result)], "data": column}
        for output, column in zip(served.signature.outputs, result.T, strict=True)
    ]
    if not request.outputs:
        return made
    wanted = {output.name for output in request.outputs}
    return [output for output in made if output["name"] in wanted]


def answer(served: Served, request: InferRequest, result: Matrix) -> bytes:
    """The body that answers `request` with the rows that `served` computed."""
    made = outputs(served, request, result)
    for output in made:
        output["data"] = output["data"].tolist()
    return body(served, request, made)


def body(served: Served, request: InferRequest, made: list[dict[str, Any]]) -> bytes:
    """The JSON of an answer with these outputs."""
    content = {
        "model_name": served.announced.model,
        "model_version": served.version,
        "outputs": made,
    }
    if request.id is not None:
        content["id"] = request.id
    return _encode(content)
