"""What real clients get by gRPC: tritonclient's, in all three of its manners, and bare messages."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import triton_to_np_dtype

from tests.serving.conftest import ROWS, Trained
from tests.serving.models import SIGNATURE
from tests.serving.rig import PATIENCE, Service, eventually
from tests.serving.test_metrics import total

TYPES: dict[str, tuple[str, Any]] = {
    "float64": ("FP64", np.float64),
    "int64": ("INT64", np.int64),
    "category": ("BYTES", np.object_),
}


def inputs(rows: list[dict[str, Any]] = ROWS, **datatypes: str) -> list[triton.InferInput]:
    """Rows as one tensor for each column; `datatypes` names others than the signature's."""
    made = []
    for member in SIGNATURE.inputs:
        datatype, dtype = TYPES[member.type]
        datatype = datatypes.get(member.name, datatype)
        if member.type != "category":
            dtype = triton_to_np_dtype(datatype)
        values = np.array([row[member.name] for row in rows], dtype)
        tensor = triton.InferInput(member.name, [len(rows)], datatype)
        made.append(tensor.set_data_from_numpy(values))
    return made


def test_health_and_metadata(client: triton.InferenceServerClient, served: Service) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("flights")
    assert client.is_model_ready("flights", "1")
    assert not client.is_model_ready("flights", "2")
    assert not client.is_model_ready("nothing")
    server = client.get_server_metadata()
    assert (server.name, "statistics" in server.extensions) == ("penstock", True)
    told = client.get_model_metadata("flights", as_json=True)
    assert told == served.get("/v2/models/flights").json() | {
        "inputs": [
            {"name": m.name, "datatype": TYPES[m.type][0], "shape": ["-1"]}
            for m in SIGNATURE.inputs
        ],
        "outputs": [{"name": "probability", "datatype": "FP64", "shape": ["-1"]}],
    }


def test_configuration_statistics_and_index(client: triton.InferenceServerClient) -> None:
    config = client.get_model_config("flights").config
    assert (config.name, config.platform) == ("flights", "penstock")
    assert [tensor.data_type for tensor in config.input] == [12, 9, 13]
    client.infer("flights", inputs())
    (stats,) = client.get_inference_statistics("flights").model_stats
    assert stats.inference_count >= len(ROWS)
    assert stats.inference_stats.success.count >= 1
    assert stats.inference_stats.success.ns > 0
    assert client.get_inference_statistics().model_stats[0].name == "flights"
    (entry,) = client.get_model_repository_index().models
    assert (entry.name, entry.version, entry.state) == ("flights", stats.version, "READY")


def test_load_means_check_again_and_unload_is_refused(
    client: triton.InferenceServerClient,
) -> None:
    client.load_model("flights")
    with pytest.raises(triton.InferenceServerException, match="alias") as caught:
        client.unload_model("flights")
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    with pytest.raises(triton.InferenceServerException, match="parameters"):
        client.load_model("flights", config="{}")
    with pytest.raises(triton.InferenceServerException) as caught:
        client.load_model("nothing")
    assert caught.value.status() == "StatusCode.NOT_FOUND"


@pytest.mark.parametrize("distance", ["FP64", "FP32"])
@pytest.mark.parametrize("hour", ["INT64", "INT32", "INT8", "UINT8", "UINT64", "FP64"])
def test_infer_raw(
    client: triton.InferenceServerClient,
    bundles: dict[str, Trained],
    distance: str,
    hour: str,
) -> None:
    result = client.infer("flights", inputs(distance=distance, hour=hour), request_id="call-7")
    answer = result.get_response()
    assert (answer.id, answer.model_name) == ("call-7", "flights")
    assert answer.model_version == client.get_model_metadata("flights").versions[0]
    got = result.as_numpy("probability")
    if distance == "FP64":
        assert got.tolist() == bundles["lightgbm-1"].answers
    assert got.shape == (len(ROWS),)


def test_asked_for_outputs_versions_and_parameters(client: triton.InferenceServerClient) -> None:
    wanted = [triton.InferRequestedOutput("probability")]
    result = client.infer(
        "flights", inputs(), model_version="1", outputs=wanted, priority=1, timeout=50_000_000
    )
    assert result.as_numpy("probability").shape == (len(ROWS),)
    with pytest.raises(triton.InferenceServerException, match="no output 'other'"):
        client.infer("flights", inputs(), outputs=[triton.InferRequestedOutput("other")])


def test_async_calls_and_asyncio(served: Service, bundles: dict[str, Trained]) -> None:
    async def ask() -> list[Any]:
        async with triton_aio.InferenceServerClient(served.grpc_address) as client:
            asked = [client.infer("flights", inputs([row])) for row in ROWS]
            return [answer.as_numpy("probability")[0] for answer in await asyncio.gather(*asked)]

    assert asyncio.run(ask()) == bundles["lightgbm-1"].answers


def test_callbacks(client: triton.InferenceServerClient, bundles: dict[str, Trained]) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.async_infer("flights", inputs(), lambda result, error: answers.put((result, error)))
    result, error = answers.get(timeout=PATIENCE)
    assert error is None
    assert result.as_numpy("probability").tolist() == bundles["lightgbm-1"].answers


def test_stream(client: triton.InferenceServerClient, bundles: dict[str, Trained]) -> None:
    """Answers come in the order of the requests, and a bad request among them ends nothing."""
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number, row in enumerate(ROWS * 6):
        client.async_stream_infer("flights", inputs([row]), request_id=str(number))
    client.async_stream_infer("nothing", inputs(), request_id="bad")
    client.async_stream_infer("flights", inputs(), request_id="last")
    told = [answers.get(timeout=PATIENCE) for _ in range(len(ROWS) * 6 + 2)]
    client.stop_stream()
    for number, (result, error) in enumerate(told[:-2]):
        assert error is None
        assert result.get_response().id == str(number)
        expected = bundles["lightgbm-1"].answers[number % len(ROWS)]
        assert result.as_numpy("probability").tolist() == [expected]
    assert "no model 'nothing'" in str(told[-2][1])
    assert told[-1][0].get_response().id == "last"


def test_asyncio_stream(served: Service, bundles: dict[str, Trained]) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for row in ROWS:
            yield {"model_name": "flights", "inputs": inputs([row])}

    async def ask() -> list[float]:
        async with triton_aio.InferenceServerClient(served.grpc_address) as client:
            answers = []
            async for result, error in client.stream_infer(requests()):
                assert error is None
                answers.append(result.as_numpy("probability")[0])
            return answers

    assert asyncio.run(ask()) == bundles["lightgbm-1"].answers


@pytest.fixture(scope="module")
def stub(served: Service) -> Any:
    """The protocol's own stub, for messages that tritonclient would not make."""
    with grpc.insecure_channel(served.grpc_address) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


CONTENTS = {"distance": "fp64_contents", "hour": "int64_contents", "carrier": "bytes_contents"}


def typed() -> service_pb2.ModelInferRequest:
    """The rows in typed contents."""
    request = service_pb2.ModelInferRequest(model_name="flights")
    for member in SIGNATURE.inputs:
        datatype = TYPES[member.type][0]
        tensor = request.inputs.add(name=member.name, datatype=datatype, shape=[len(ROWS), 1])
        values = [row[member.name] for row in ROWS]
        values = [v.encode() if isinstance(v, str) else v for v in values]
        getattr(tensor.contents, CONTENTS[member.name]).extend(values)
    return request


def test_infer_typed(stub: Any, bundles: dict[str, Trained]) -> None:
    answer = stub.ModelInfer(typed())
    assert [output.name for output in answer.outputs] == ["probability"]
    (raw,) = answer.raw_output_contents
    assert np.frombuffer(raw).tolist() == bundles["lightgbm-1"].answers


def with_raw(request: Any) -> None:
    request.raw_input_contents.append(b"")


def mixed(request: Any) -> None:
    request.raw_input_contents.extend([b"", b"", b""])


def wrong_field(request: Any) -> None:
    request.inputs[0].contents.fp32_contents.append(1.0)


def half(request: Any) -> None:
    request.inputs[0].datatype = "FP16"


def unknown(request: Any) -> None:
    request.inputs[0].datatype = "FP128"


def short(request: Any) -> None:
    del request.inputs[0].contents.fp64_contents[0]


def absent(request: Any) -> None:
    del request.inputs[0]


def unseen(request: Any) -> None:
    request.inputs[2].contents.bytes_contents[3] = b"\xff"


def empty(request: Any) -> None:
    del request.inputs[:]


def timeout(request: Any) -> None:
    request.parameters["timeout"].string_param = "soon"


BAD = {
    with_raw: "3 inputs and 1 raw",
    mixed: "both raw and typed",
    wrong_field: "fp32_contents",
    half: "no typed contents",
    unknown: "FP128",
    short: "15 values",
    absent: "distance",
    unseen: "not UTF-8",
    empty: "missing",
    timeout: "parameters.timeout",
}


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_bad_requests_get_a_reason(stub: Any, spoil: Any) -> None:
    request = typed()
    spoil(request)
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert BAD[spoil] in caught.value.details()


def test_statuses(stub: Any, client: triton.InferenceServerClient) -> None:
    """Names that are not there, requests that are too large, calls that are not served."""
    for name, version in (("nothing", ""), ("flights", "77")):
        with pytest.raises(triton.InferenceServerException) as caught:
            client.infer(name, inputs(), model_version=version)
        assert caught.value.status() == "StatusCode.NOT_FOUND"
    for rows in (501, 10_000):
        # More than the queue holds, then more than a message may have.
        with pytest.raises(triton.InferenceServerException) as caught:
            client.infer("flights", inputs(ROWS[:1] * rows))
        assert caught.value.status() == "StatusCode.RESOURCE_EXHAUSTED"
    with pytest.raises(grpc.RpcError) as refused:
        stub.TraceSetting(service_pb2.TraceSettingRequest())
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_bytes_that_are_no_message(served: Service) -> None:
    with grpc.insecure_channel(served.grpc_address) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"\xff\xff\xff", timeout=PATIENCE)
        stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        with pytest.raises(grpc.RpcError) as later:
            list(stream(iter([b"\xff\xff\xff"]), timeout=PATIENCE))
    for error in (caught.value, later.value):
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert error.details() == "the message is not a ModelInferRequest"


def test_few_rows_are_predicted_by_its_gateway_too(
    client: triton.InferenceServerClient, served: Service, bundles: dict[str, Trained]
) -> None:
    def inline() -> float:
        return total(served, "inference_inline_exec_count_total")

    def asked() -> bool:
        before = inline()
        result = client.infer("flights", inputs(ROWS[:3]), client_timeout=PATIENCE)
        told = result.as_numpy("probability").tolist()
        assert told == bundles["lightgbm-1"].answers[:3]
        return inline() > before

    eventually("inline scoring", asked)
