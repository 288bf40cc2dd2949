"""The messages of `inference.GRPCInferenceService`: Open Inference Protocol and Triton's extensions.

Their names, types and numbers are facts of the protocol, and stand here as a table. The classes are
built at run time in a descriptor pool of their own, so that any other library of the process (such
as tritonclient, which brings the same names) may have its own copy of them.

A line is `Message: field type number, …`; `*` repeats a type, `map<>` maps from text to it, and
`?choice` puts a field into a oneof.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

_MESSAGES = """
ServerLiveRequest:
ServerLiveResponse: live bool 1
ServerReadyRequest:
ServerReadyResponse: ready bool 1
ModelReadyRequest: name string 1, version string 2
ModelReadyResponse: ready bool 1
ServerMetadataRequest:
ServerMetadataResponse: name string 1, version string 2, extensions *string 3
ModelMetadataRequest: name string 1, version string 2
ModelMetadataResponse: name string 1, versions *string 2, platform string 3
    inputs *ModelMetadataResponse.TensorMetadata 4, outputs *ModelMetadataResponse.TensorMetadata 5
ModelMetadataResponse.TensorMetadata: name string 1, datatype string 2, shape *int64 3
InferParameter: bool_param bool 1 ?parameter_choice, int64_param int64 2 ?parameter_choice
    string_param string 3 ?parameter_choice, double_param double 4 ?parameter_choice
    uint64_param uint64 5 ?parameter_choice
InferTensorContents: bool_contents *bool 1, int_contents *int32 2, int64_contents *int64 3
    uint_contents *uint32 4, uint64_contents *uint64 5, fp32_contents *float 6
    fp64_contents *double 7, bytes_contents *bytes 8
ModelInferRequest: model_name string 1, model_version string 2, id string 3
    parameters map<InferParameter> 4, inputs *ModelInferRequest.InferInputTensor 5
    outputs *ModelInferRequest.InferRequestedOutputTensor 6, raw_input_contents *bytes 7
ModelInferRequest.InferInputTensor: name string 1, datatype string 2, shape *int64 3
    parameters map<InferParameter> 4, contents InferTensorContents 5
ModelInferRequest.InferRequestedOutputTensor: name string 1, parameters map<InferParameter> 2
ModelInferResponse: model_name string 1, model_version string 2, id string 3
    parameters map<InferParameter> 4, outputs *ModelInferResponse.InferOutputTensor 5
    raw_output_contents *bytes 6
ModelInferResponse.InferOutputTensor: name string 1, datatype string 2, shape *int64 3
    parameters map<InferParameter> 4, contents InferTensorContents 5
ModelStreamInferResponse: error_message string 1, infer_response ModelInferResponse 2
ModelConfigRequest: name string 1, version string 2
ModelConfigResponse: config ModelConfig 1
ModelConfig: name string 1, platform string 2, max_batch_size int32 4, input *ModelInput 5
    output *ModelOutput 6, backend string 17
ModelInput: name string 1, data_type DataType 2, dims *int64 4
ModelOutput: name string 1, data_type DataType 2, dims *int64 3
ModelStatisticsRequest: name string 1, version string 2
ModelStatisticsResponse: model_stats *ModelStatistics 1
ModelStatistics: name string 1, version string 2, last_inference uint64 3, inference_count uint64 4
    execution_count uint64 5, inference_stats InferStatistics 6
    batch_stats *InferBatchStatistics 7, memory_usage *MemoryUsage 8
InferStatistics: success StatisticDuration 1, fail StatisticDuration 2, queue StatisticDuration 3
    compute_input StatisticDuration 4, compute_infer StatisticDuration 5
    compute_output StatisticDuration 6, cache_hit StatisticDuration 7, cache_miss StatisticDuration 8
InferBatchStatistics: batch_size uint64 1, compute_input StatisticDuration 2
    compute_infer StatisticDuration 3, compute_output StatisticDuration 4
MemoryUsage: type string 1, id int64 2, byte_size uint64 3
StatisticDuration: count uint64 1, ns uint64 2
ModelRepositoryParameter: bool_param bool 1 ?parameter_choice, int64_param int64 2 ?parameter_choice
    string_param string 3 ?parameter_choice, bytes_param bytes 4 ?parameter_choice
RepositoryIndexRequest: repository_name string 1, ready bool 2
RepositoryIndexResponse: models *RepositoryIndexResponse.ModelIndex 1
RepositoryIndexResponse.ModelIndex: name string 1, version string 2, state string 3, reason string 4
RepositoryModelLoadRequest: repository_name string 1, model_name string 2
    parameters map<ModelRepositoryParameter> 3
RepositoryModelLoadResponse:
RepositoryModelUnloadRequest: repository_name string 1, model_name string 2
    parameters map<ModelRepositoryParameter> 3
RepositoryModelUnloadResponse:
"""
_DATATYPES = (
    "INVALID BOOL UINT8 UINT16 UINT32 UINT64 INT8 INT16 INT32 INT64 FP16 FP32 FP64 STRING BF16"
)
#: The calls that are answered. Each takes `<name>Request` and gives `<name>Response`, but for those
#: of inference: they share a request, and a stream wraps its answers.
CALLS = (
    "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer",
    "ModelStreamInfer", "ModelConfig", "ModelStatistics", "RepositoryIndex",
    "RepositoryModelLoad", "RepositoryModelUnload",
)  # fmt: skip

_SCALARS = {
    name: getattr(FieldDescriptorProto, f"TYPE_{name.upper()}")
    for name in ["bool", "int32", "int64", "uint32", "uint64", "float", "double", "string", "bytes"]
}
_FIELD = re.compile(
    r"(?P<name>\w+) (?P<many>\*?)(?P<mapped>(?:map<)?)(?P<kind>[\w.]+)>? (?P<number>\d+)"
    r"(?: \?(?P<choice>\w+))?(?:, |\n +|\n|$)"
)


def file_descriptor() -> FileDescriptorProto:
    """The table as protobuf describes a file."""
    file = FileDescriptorProto(name="penstock_inference.proto", package=PACKAGE, syntax="proto3")
    datatype = file.enum_type.add(name="DataType")
    for number, name in enumerate(_DATATYPES.split()):
        datatype.value.add(name=f"TYPE_{name}", number=number)
    made: dict[str, DescriptorProto] = {}
    for name, fields in _lines():
        outer, _, inner = name.rpartition(".")
        home = made[outer].nested_type if outer else file.message_type
        made[name] = home.add(name=inner)
        for field in _FIELD.finditer(fields):
            _add(made[name], f".{PACKAGE}.{name}", **field.groupdict())
    return file


def _lines() -> Iterator[tuple[str, str]]:
    """Each message and the text of its fields."""
    for text in re.split(r"\n(?=\w)", _MESSAGES.strip()):
        name, _, fields = text.partition(":")
        yield name, fields.strip()


def _add(
    message: DescriptorProto, path: str, *, name: str, many: str, mapped: str, kind: str, number: str,
    choice: str | None,
) -> None:  # fmt: skip
    field = message.field.add(name=name, number=int(number))
    field.label = field.LABEL_REPEATED if many or mapped else field.LABEL_OPTIONAL
    if choice:
        if not any(each.name == choice for each in message.oneof_decl):
            message.oneof_decl.add(name=choice)
        field.oneof_index = 0
    _set_type(field, _map_entry(message, path, name, kind) if mapped else kind)


def _map_entry(message: DescriptorProto, path: str, name: str, value: str) -> str:
    """A map is a repeated message of key and value; returns its type."""
    entry = message.nested_type.add(name=f"{name.title()}Entry")
    entry.options.map_entry = True
    for number, (part, kind) in enumerate((("key", "string"), ("value", value)), start=1):
        field = entry.field.add(name=part, number=number)
        field.label = field.LABEL_OPTIONAL
        _set_type(field, kind)
    return f"{path}.{entry.name}"


def _set_type(field: FieldDescriptorProto, name: str) -> None:
    if name in _SCALARS:
        field.type = _SCALARS[name]
        return
    field.type = field.TYPE_ENUM if name == "DataType" else field.TYPE_MESSAGE
    field.type_name = name if name.startswith(".") else f".{PACKAGE}.{name}"


def _classes() -> dict[str, Any]:
    pool = DescriptorPool()
    pool.Add(file_descriptor())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name, _ in _lines()
    }


#: The class of each message by its name.
MESSAGES = _classes()


def request_of(call: str) -> Any:
    """The class of what `call` takes."""
    return MESSAGES["ModelInferRequest" if call == "ModelStreamInfer" else f"{call}Request"]


def response_of(call: str) -> Any:
    """The class of what `call` gives, or of each part of it."""
    return MESSAGES[f"{call}Response"]
