"""Spoilt messages by gRPC: each gets a status that blames its client, and the gateway lives on."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from serving.gateway.rpc.schema import MESSAGES, SERVICE
from tests.campaigns.test_fuzz import GROWTH, WARM, resident
from tests.plugins.campaign import Campaign
from tests.serving.conftest import ROWS, Trained
from tests.serving.conftest import bundles as bundles  # noqa: PLC0414 - the same models
from tests.serving.models import SIGNATURE
from tests.serving.rig import PATIENCE, Publisher, Service, eventually, service

pytestmark = pytest.mark.timeout(0)

#: Messages of one round, which are under way together.
MESSAGES_A_ROUND = 60
OK = grpc.StatusCode.OK
#: What a client can be told for what it sent: a name may be spoilt, or the size of something.
ALLOWED = {
    OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED,
}  # fmt: skip
TYPES = {
    "float64": ("FP64", "fp64_contents"),
    "int64": ("INT64", "int64_contents"),
    "category": ("BYTES", "bytes_contents"),
}


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, bundles: dict[str, Trained]
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("fuzz-rpc")
    publisher = Publisher(folder)
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    settings = {"serving_workers": 1, "serving_grpc_port": 0}
    with service(publisher, folder / "run", "flights", **settings) as started:  # type: ignore[arg-type]
        yield started


def message(*, raw: bool, rows: int) -> bytes:
    """A request that is in order."""
    request = MESSAGES["ModelInferRequest"](model_name="flights", id="call")
    request.parameters["priority"].uint64_param = 1
    request.outputs.add(name="probability")
    for member in SIGNATURE.inputs:
        datatype, field = TYPES[member.type]
        tensor = request.inputs.add(name=member.name, datatype=datatype, shape=[rows])
        values = [row[member.name] for row in ROWS[:rows]]
        if datatype == "BYTES":
            values = [value.encode() for value in values]
        if not raw:
            getattr(tensor.contents, field).extend(values)
        elif datatype == "BYTES":
            data = b"".join(len(v).to_bytes(4, "little") + v for v in values)
            request.raw_input_contents.append(data)
        else:
            data = np.array(values, "<f8" if datatype == "FP64" else "<i8").tobytes()
            request.raw_input_contents.append(data)
    return bytes(request.SerializeToString())


def spoilt(choose: random.Random) -> bytes:
    """A request with a few bytes changed, taken out, put in, doubled or exchanged."""
    data = bytearray(message(raw=choose.random() < 0.5, rows=choose.randint(1, len(ROWS))))
    for _ in range(choose.choice([1, 1, 1, 2, 5])):
        at = choose.randrange(len(data) or 1)
        size = choose.choice([1, 1, 4, 8, 40])
        kind = choose.randrange(5)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << choose.randrange(8)
        elif kind == 1:
            del data[at : at + size]
        elif kind == 2:
            data[at:at] = choose.randbytes(size)
        elif kind == 3:
            data[at:at] = data[at : at + size]
        else:
            data[at : at + size] = choose.choice([b"\xff", b"\x00", b"\x7f"]) * size
    return bytes(data)


@pytest.mark.campaign
def test_spoilt_messages(running: Service, bundles: dict[str, Trained], campaign: Campaign) -> None:
    statuses: Counter[grpc.StatusCode] = Counter()
    sizes: dict[int, int] = {}
    with grpc.insecure_channel(running.grpc_address) as channel:
        ask = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        right = message(raw=True, rows=len(ROWS))
        eventually("gRPC", lambda: ask.future(right, wait_for_ready=True).result(PATIENCE))
        for turn in campaign.rounds(short=20):
            asked = [spoilt(turn.random) for _ in range(MESSAGES_A_ROUND)]
            calls = [ask.future(data, timeout=PATIENCE) for data in asked]
            for data, call in zip(asked, calls, strict=True):
                assert call.code() in ALLOWED, (call.code(), call.details(), data)
                statuses[call.code()] += 1
            answer = MESSAGES["ModelInferResponse"].FromString(ask(right, timeout=PATIENCE))
            told = np.frombuffer(answer.raw_output_contents[0])
            assert told.tolist() == bundles["lightgbm-1"].answers
            if turn.number == WARM:
                sizes = resident(running)
    print(f"{statuses.total()} spoilt messages: {statuses}")
    assert statuses[OK]
    assert statuses[grpc.StatusCode.INVALID_ARGUMENT]
    if campaign.only is None:
        now = resident(running)
        assert sizes.keys() == now.keys(), "a process died"
        assert max(now[pid] - sizes[pid] for pid in now) < GROWTH
