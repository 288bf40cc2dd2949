"""A call can be followed: its names are in the metadata of its answer, and in the log."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from registry.ecs import OBJECTS
from tests.serving.conftest import Trained
from tests.serving.rig import PATIENCE, Publisher, Service, eventually
from tests.serving.rpc.conftest import client_of
from tests.serving.rpc.test_clients import inputs, typed
from tests.serving.rpc.test_operation import status_of
from tests.serving.test_traces import ID, PARENT

GIVEN = (("x-request-id", "mine-7"), ("traceparent", PARENT))
PATH = "/inference.GRPCInferenceService/ModelInfer"


def named(call: Any) -> dict[str, str]:
    """The names in the metadata that ends a call."""
    found = dict(call.trailing_metadata())
    return {name: found[name] for name in ("x-request-id", "traceparent")}


@pytest.fixture
def stub(served: Service) -> Any:
    with grpc.insecure_channel(served.grpc_address) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def refused(call: Callable[..., Any], request: Any) -> Any:
    """The error of a call that is refused, which has metadata as well."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request, metadata=GIVEN, timeout=PATIENCE)
    return caught.value


def test_every_answer_carries_the_names_of_its_call(stub: Any) -> None:
    _, infer = stub.ModelInfer.with_call(typed(), metadata=GIVEN)
    _, told = stub.ServerLive.with_call(service_pb2.ServerLiveRequest(), metadata=GIVEN)
    stream = stub.ModelStreamInfer(iter([typed(), typed()]), metadata=GIVEN)
    assert len(list(stream)) == 2
    nothing = service_pb2.ModelInferRequest(model_name="nothing")
    unknown = refused(stub.ModelInfer, nothing)
    index = service_pb2.ModelMetadataRequest(name="nothing")
    for call in (infer, told, stream, unknown, refused(stub.ModelMetadata, index)):
        names = named(call)
        assert names["x-request-id"] == "mine-7"
        assert re.fullmatch(rf"00-{ID}-[0-9a-f]{{16}}-01", names["traceparent"])
        assert names["traceparent"] != PARENT  # another span of the same trace


@pytest.mark.parametrize("given", [(), (("x-request-id", "a b"),), (*GIVEN[:1], *GIVEN[:1])])
def test_names_that_are_missing_or_odd_are_made(stub: Any, given: Any) -> None:
    made = [named(stub.ModelInfer.with_call(typed(), metadata=given)[1]) for _ in range(2)]
    assert made[0]["x-request-id"] != made[1]["x-request-id"]
    assert all(re.fullmatch(r"[0-9a-f]{32}", names["x-request-id"]) for names in made)
    assert all(names["x-request-id"] in names["traceparent"] for names in made)


def test_the_log_tells_of_each_call(
    publisher: Publisher, bundles: dict[str, Trained], run: Callable[..., Any]
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run(serving_grpc_port=0, serving_access_log=1) as service, client_of(service) as client:
        version = (
            client.infer("flights", inputs(), headers=dict(GIVEN)).get_response().model_version
        )
        missing = {"x-request-id": "mine-8"}
        assert status_of(lambda: client.infer("none", inputs(), headers=missing)) == "NOT_FOUND"
        eventually("the lines", lambda: "mine-8" in service.log)
        lines = [json.loads(line) for line in service.log.splitlines() if line.startswith("{")]
        told = {line["http.request.id"]: line for line in lines if line.get("url.path") == PATH}
        good, bad = told["mine-7"], told["mine-8"]
        assert (good["trace.id"], good["version"], good["model"]) == (ID, version, "flights")
        assert (good["http.response.status_code"], bad["http.response.status_code"]) == (200, 404)
        assert good["http.response.body.bytes"] > 16 * 8
        assert good["event.duration"] > 0
        assert not good.keys() & OBJECTS
