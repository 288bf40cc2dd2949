"""Between gRPC's messages and what the protocol's codecs work on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from registry.models.signature import Matrix
from serving.errors import RequestError
from serving.gateway.protocols import oip, tensors
from serving.gateway.protocols.oip import InferRequest, Tensor, Wanted
from serving.gateway.rpc.schema import MESSAGES
from serving.gateway.served import Served

_Response = MESSAGES["ModelInferResponse"]

#: Where the elements of each datatype stand in typed contents; FP16 and BF16 travel as bytes only.
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
}


def request_of(message: Any) -> InferRequest:
    """A ModelInferRequest as the protocol's codecs know it. Raises RequestError naming the input."""
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise RequestError(
            f"there are {len(message.inputs)} inputs and {len(raw)} raw contents",
            "either every input is raw, or none",
        )
    inputs = [_tensor(each, raw[i] if raw else None) for i, each in enumerate(message.inputs)]
    outputs = [Wanted(each.name, values_of(each.parameters)) for each in message.outputs]
    return InferRequest(inputs, message.id or None, values_of(message.parameters), outputs or None)


def values_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as plain values; one that holds nothing is left out."""
    chosen = {name: value.WhichOneof("parameter_choice") for name, value in parameters.items()}
    return {name: getattr(parameters[name], field) for name, field in chosen.items() if field}


def _tensor(message: Any, raw: bytes | None) -> Tensor:
    name, datatype, shape = message.name, message.datatype, list(message.shape)
    if raw is None:
        data: tensors.Values = _typed(message)
    elif message.HasField("contents"):
        raise RequestError(f"input {name[:80]!r} has both raw and typed contents")
    else:
        data = tensors.decode(name, datatype, shape, memoryview(raw))
    return Tensor(name, shape, datatype, data, values_of(message.parameters))


def _typed(message: Any) -> Sequence[Any]:
    """The elements of typed contents; how many there must be is checked by the codec."""
    tensors.check_datatype(message.name, message.datatype)
    field = _CONTENTS.get(message.datatype)
    if field is None:
        raise RequestError(
            f"input {message.name[:80]!r}: {message.datatype} has no typed contents",
            "",
            "Send it in raw_input_contents.",
        )
    contents = message.contents
    for other, _ in contents.ListFields():
        if other.name != field:
            raise RequestError(
                f"input {message.name[:80]!r} has {other.name}",
                f"{message.datatype} stands in {field}",
            )
    return list(getattr(contents, field))


def answer(served: Served, request: InferRequest, result: Matrix) -> Any:
    """The ModelInferResponse with the rows that `served` computed."""
    made = oip.outputs(served, request, result)
    response = _Response(
        model_name=served.announced.model, model_version=served.version, id=request.id or ""
    )
    for output in made:
        response.outputs.add(
            name=output["name"], datatype=output["datatype"], shape=output["shape"]
        )
        response.raw_output_contents.append(tensors.encode(output["data"]))
    return response
