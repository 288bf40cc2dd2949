"""Our table of messages against what a real client was generated from."""

from __future__ import annotations

from typing import Any

import pytest
from tritonclient.grpc import model_config_pb2, service_pb2

from serving.gateway.rpc import schema


def theirs(name: str) -> Any:
    """The descriptor of the same message in tritonclient."""
    for module in (service_pb2, model_config_pb2):
        found: Any = module.DESCRIPTOR.message_types_by_name.get(name.partition(".")[0])
        for inner in name.split(".")[1:]:
            found = found.nested_types_by_name[inner]
        if found is not None:
            return found
    raise AssertionError(name)


def about(field: Any) -> tuple[Any, ...]:
    kind = field.message_type or field.enum_type
    choice = field.containing_oneof
    return (
        field.number, field.type, field.is_repeated, kind.full_name if kind else None,
        choice.name if choice else None,
    )  # fmt: skip


@pytest.mark.parametrize("name", schema.MESSAGES)
def test_fields_are_those_of_the_protocol(name: str) -> None:
    ours = schema.MESSAGES[name].DESCRIPTOR
    their_fields = theirs(name).fields_by_name
    assert ours is not theirs(name)
    for field in ours.fields:
        assert about(field) == about(their_fields[field.name]), field.name


@pytest.mark.parametrize("call", schema.CALLS)
def test_calls_take_and_give_what_clients_expect(call: str) -> None:
    method = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name[call]
    assert method.input_type.full_name == schema.request_of(call).DESCRIPTOR.full_name
    assert method.output_type.full_name == schema.response_of(call).DESCRIPTOR.full_name
    assert method.containing_service.full_name == schema.SERVICE


def test_datatypes_have_the_numbers_of_the_protocol() -> None:
    (ours,) = schema.file_descriptor().enum_type
    theirs = model_config_pb2.DESCRIPTOR.enum_types_by_name["DataType"]
    assert {v.name: v.number for v in ours.value} == {v.name: v.number for v in theirs.values}


def test_bytes_of_one_side_are_read_by_the_other() -> None:
    request = schema.MESSAGES["ModelInferRequest"](model_name="m", id="7")
    request.parameters["timeout"].int64_param = 5
    tensor = request.inputs.add(name="x", datatype="FP64", shape=[-1, 2])
    tensor.contents.fp64_contents.extend([1.5, 2.5])
    read = service_pb2.ModelInferRequest.FromString(request.SerializeToString())
    assert read.parameters["timeout"].int64_param == 5
    assert list(read.inputs[0].contents.fp64_contents) == [1.5, 2.5]
    assert schema.MESSAGES["ModelInferRequest"].FromString(read.SerializeToString()) == request
