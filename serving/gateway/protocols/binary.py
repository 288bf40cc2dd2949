"""The binary tensor extension: JSON first, then the bytes of tensors in the order of the tensors.

How long the JSON is stands in the header `Inference-Header-Content-Length`; how many bytes belong
to a tensor, in its parameter `binary_data_size`. A length of 0 says that the whole body is the one
input of the model. Specification:
https://github.com/triton-inference-server/server/tree/main/docs/protocol (extension_binary_data)
"""

from __future__ import annotations

from typing import Any

from registry.models.signature import Matrix, Signature
from serving.errors import RequestError
from serving.gateway.protocols import oip, tensors
from serving.gateway.protocols.oip import InferRequest, Tensor, Wanted
from serving.gateway.served import Served

#: The header, as it is sent and as it is looked up.
HEADER = b"inference-header-content-length"
SIZE = "binary_data_size"
_AS_BYTES = {"binary_data_output": True}


def parse(body: bytes | bytearray, header: bytes, signature: Signature) -> InferRequest:
    """Read a body whose JSON is as long as `header` says. Raises RequestError naming the input."""
    length = int(header) if header.isdigit() and len(header) < 12 else -1
    if not 0 <= length <= len(body):
        raise RequestError(
            "Inference-Header-Content-Length is not a length", f"the body has {len(body)} bytes"
        )
    if length == 0:
        return _raw(body, signature)
    request = oip.parse(body[:length])
    _fill(request, memoryview(body)[length:])
    return request


def _fill(request: InferRequest, data: memoryview) -> None:
    """Give each tensor with a `binary_data_size` its bytes."""
    at = 0
    for tensor in request.inputs:
        size = tensor.parameters.get(SIZE)
        if size is None:
            continue
        if type(size) is not int or not 0 <= size <= len(data) - at:
            raise RequestError(
                f"input {tensor.name[:80]!r}: {SIZE} is not a size",
                f"{len(data) - at} bytes are left",
            )
        if tensor.data is not None:
            raise RequestError(f"input {tensor.name[:80]!r} has both data and {SIZE}")
        values = data[at : at + size]
        tensor.data = tensors.decode(tensor.name, tensor.datatype, tensor.shape, values)
        at += size
    if at != len(data):
        raise RequestError(f"{len(data) - at} bytes after the JSON belong to no input")


def _raw(body: bytes | bytearray, signature: Signature) -> InferRequest:
    """A body without JSON: the bytes of the only input, as many rows as there are elements."""
    if len(signature.inputs) != 1:
        raise RequestError(
            "a body without JSON needs a model of one input", f"this has {len(signature.inputs)}"
        )
    (member,) = signature.inputs
    datatype = tensors.DATATYPES[member.type]
    if datatype == "BYTES":
        return _request(member.name, datatype, [memoryview(body)])
    shape = [len(body) // tensors.item_size(datatype)]
    return _request(member.name, datatype, tensors.decode(member.name, datatype, shape, body))


def _request(name: str, datatype: str, values: tensors.Values) -> InferRequest:
    tensor = Tensor(name, [len(values)], datatype, values)
    return InferRequest([tensor], parameters=_AS_BYTES)


def outputs_as_bytes(request: InferRequest, signature: Signature) -> frozenset[str]:
    """Names of the outputs that the client wants as bytes. Raises RequestError."""
    every = _flag("binary_data_output", request.parameters, default=False)
    wanted = request.outputs or [Wanted(output.name) for output in signature.outputs]
    return frozenset(
        output.name for output in wanted if _flag("binary_data", output.parameters, default=every)
    )


def _flag(name: str, parameters: dict[str, Any], *, default: bool) -> bool:
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise RequestError(f"parameters.{name} must be true or false")
    return value


def answer(
    served: Served, request: InferRequest, result: Matrix, as_bytes: frozenset[str]
) -> tuple[bytes, int]:
    """The body that answers `request`, and how long its JSON is."""
    data = []
    outputs = oip.outputs(served, request, result)
    for output in outputs:
        if output["name"] in as_bytes:
            data.append(tensors.encode(output.pop("data")))
            output["parameters"] = {SIZE: len(data[-1])}
        else:
            output["data"] = output["data"].tolist()
    head = oip.body(served, request, outputs)
    return b"".join([head, *data]), len(head)
