"""A service of models with stages: what clients send, what they get, and what happens when it goes wrong."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from registry.models.bundle import Bundle
from serving.loadclient import Load
from tests.serving import models, staged
from tests.serving.conftest import Trained
from tests.serving.moody import ENVIRONMENT
from tests.serving.rig import Publisher, Service, alive, eventually, service
from tests.serving.test_openapi import ask_everything, blocks

Run = Callable[..., Any]
RAW = {"Inference-Header-Content-Length": "0"}


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    """An environment whose services know the stages."""
    made = Publisher(tmp_path)
    made.environment.update(ENVIRONMENT)
    return made


@pytest.fixture(scope="module")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that sums payloads, which the tests of this module do not change."""
    folder = tmp_path_factory.mktemp("sums")
    publisher = Publisher(folder)
    publisher.environment.update(ENVIRONMENT)
    publisher.publish("sums", staged.sums(folder / "bundle").folder)
    settings: dict[str, Any] = {"serving_payload_mb": 4, "serving_grpc_port": 0}
    with service(publisher, folder / "service", "sums", **settings) as running:
        yield running


def ask(service: Service, payload: bytes, model: str = "sums", **headers: str) -> httpx.Response:
    """Send a payload as the whole body."""
    url = f"{service.url}/v2/models/{model}/infer"
    return service.client.post(url, content=payload, headers={**RAW, **headers})


def sum_of(answer: httpx.Response) -> float:
    """The number in an answer whose outputs are bytes."""
    assert answer.status_code == 200, answer.text
    length = int(answer.headers["inference-header-content-length"])
    (value,) = struct.unpack("<d", answer.content[length:])
    return float(value)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 4096, 70_000, 600_000, 3_000_000])
def test_a_payload_of_any_size_is_summed(sums: Service, size: int) -> None:
    payload = random.Random(size).randbytes(size)
    assert sum_of(ask(sums, payload)) == sum(payload)


def record(payload: bytes) -> dict[str, Any]:
    """A request in MLflow's form."""
    return {"dataframe_records": [{"payload": base64.b64encode(payload).decode()}]}


def body(payload: bytes) -> bytes:
    """The same as bytes."""
    return httpx.Request("POST", "http://x", json=record(payload)).content


def descriptors(pid: int) -> list[Path]:
    """What a process has open."""
    return list(Path(f"/proc/{pid}/fd").iterdir())


def summed(service: Service, payload: bytes) -> bool:
    """Whether a payload gets its sum."""
    return sum_of(ask(service, payload)) == sum(payload)


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    return not alive(pid)


def reached(service: Service, revision: int) -> bool:
    """Whether this revision answers."""
    return service.revision("sums") == revision


# protocols ------------------------------------------------------------------------------------


def test_each_form_of_a_request_means_the_same(sums: Service) -> None:
    """JSON text, base64, CSV, binary tensors of several rows, and both of tritonclient's clients."""
    text = "grün"
    tensor = {"name": "payload", "shape": [2], "datatype": "BYTES", "data": [text, ""]}
    answer = sums.post("/v2/models/sums/infer", {"inputs": [tensor]}).json()
    assert answer["outputs"][0]["data"] == [sum(text.encode()), 0]
    assert sums.post("/invocations", record(b"\x00\xff")).json()["predictions"] == [255]
    split = {"dataframe_split": {"columns": ["payload"], "data": [["AP8="], ["AQ=="]]}}
    assert sums.post("/invocations", split).json()["predictions"] == [255, 1]
    assert sums.post("/invocations", {"instances": ["AP8="]}).json()["predictions"] == [255]
    csv = sums.client.post(
        f"{sums.url}/invocations", content=b"payload\nAP8=\n", headers={"content-type": "text/csv"}
    )
    assert csv.json()["predictions"] == [255]


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_tritonclient_sends_payloads(sums: Service, kind: str) -> None:
    payloads = [b"\xff\x00", b"", b"x" * 200_000]
    values = np.array(payloads, object)
    if kind == "http":
        import tritonclient.http as triton
    else:
        import tritonclient.grpc as triton
    with triton.InferenceServerClient(
        sums.address if kind == "http" else sums.grpc_address
    ) as client:
        eventually("readiness", lambda: client.is_server_ready())
        asked = triton.InferInput("payload", [3], "BYTES")
        asked.set_data_from_numpy(values)
        got = client.infer("sums", [asked]).as_numpy("sum")
        assert got.tolist() == [sum(payload) for payload in payloads]
        metadata = client.get_model_metadata("sums")
        inputs = metadata["inputs"] if kind == "http" else metadata.inputs
        assert "payload" in str(inputs)
        assert "BYTES" in str(inputs)
        assert "TYPE_STRING" in str(client.get_model_config("sums"))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"dataframe_records": [{"payload": "no base64!"}]}, "not base64"),
        ({"dataframe_records": [{"payload": 7}]}, "expected bytes or text"),
        ({"dataframe_records": [{"payload": None}]}, "expected bytes or text"),
        ({"dataframe_records": [{"other": "AQ=="}]}, "missing: payload"),
        ({"instances": [["AQ==", "AQ=="]]}, "the model takes 1"),
    ],
)
def test_what_is_no_payload_is_refused(sums: Service, given: Any, text: str) -> None:
    answer = sums.post("/invocations", given)
    assert answer.status_code == 400
    assert text in answer.json()["message"]


def test_a_payload_may_not_come_as_numbers(sums: Service) -> None:
    tensor = {"name": "payload", "shape": [1], "datatype": "FP64", "data": [1.0]}
    answer = sums.post("/v2/models/sums/infer", {"inputs": [tensor]})
    assert answer.status_code == 400
    assert "takes BYTES" in answer.json()["error"]


def test_pages_show_the_payload(sums: Service) -> None:
    page = sums.get("/docs").text
    assert "Inference-Header-Content-Length: 0" in page
    assert "BYTES" in page
    document = sums.get("/openapi.json").json()
    example = document["paths"]["/invocations"]["post"]["requestBody"]["content"][
        "application/json"
    ]["example"]
    assert sums.post("/invocations", example).json()["predictions"] == [256]
    metrics = sums.get("/metrics").text
    assert 'stage_duration_seconds_count{model="sums"' in metrics
    assert 'role="stage",model="sums"} 2' in metrics


def test_the_lines_of_the_guide_can_be_pasted(sums: Service) -> None:
    infer, invocations, csv, python = blocks(sums.get("/docs").text)
    for line in (infer, invocations, csv):
        out = subprocess.run(["bash", "-c", line], capture_output=True, check=True, timeout=60)
        assert out.stdout.endswith(struct.pack("<d", 256)) or b"[256.0]" in out.stdout
    ran = subprocess.run([sys.executable, "-c", python], capture_output=True, check=True, text=True)
    assert ran.stdout == "[256.]\n"


def test_schemathesis_finds_nothing(sums: Service) -> None:
    assert len(ask_everything(sums)) > 20
    assert sums.ready


# a model between two stages -------------------------------------------------------------------


def test_a_model_between_two_stages(
    publisher: Publisher, bundles: dict[str, Trained], tmp_path: Path, run: Run
) -> None:
    """Two columns of bytes and one of numbers; missing ones too, and more rows than a stage takes."""
    bundle = staged.mixed(tmp_path / "mixed", Bundle.read(bundles["lightgbm-1"].folder))
    publisher.publish("flights", bundle.folder)
    rows: list[dict[str, Any]] = [
        {"left": carrier, "scale": number / 3 if number % 4 else None, "right": "x" * number}
        for number, carrier in enumerate(("AA", "DL", None, "UA", "ZZ") * 6)
    ]
    seen = [
        {"distance": row["scale"], "hour": len(row["right"]) % 24, "carrier": row["left"]}
        for row in rows
    ]
    expected = models.Oracle(bundle).predict(seen)

    def encoded(value: Any) -> Any:
        return base64.b64encode(value.encode()).decode() if isinstance(value, str) else value

    records = [{name: encoded(value) for name, value in row.items()} for row in rows]
    with run() as service:
        answer = service.post("/invocations", {"dataframe_records": records})
        assert [p["half"] for p in answer.json()["predictions"]] == [e / 2 for e in expected]
        assert [p["rest"] for p in answer.json()["predictions"]] == [1 - e / 2 for e in expected]
        assert len(service.processes("pen:pre:flights")) == 2
        assert len(service.processes("pen:post:flight")) == 2
        inputs = service.get("/v2/models/flights").json()["inputs"]
        assert [each["datatype"] for each in inputs] == ["BYTES", "FP64", "BYTES"]


# when it goes wrong ---------------------------------------------------------------------------


def test_a_stage_that_refuses_or_fails_on_a_row_fails_its_request_alone(sums: Service) -> None:
    good = [bytes([number]) * 100 for number in range(16)]
    bodies = [body(b"refuse"), body(b"raise"), *map(body, good)]
    with Load(sums.address, bodies, connections=16, limit=800) as load:
        load.wait(800)
    for note in load.report.notes:
        if note.request == 0:
            assert (note.status, note.body["message"]) == (400, "the payload refuses: it says so")
        elif note.request == 1:
            assert note.status == 500
            assert "secret" not in note.text
        else:
            assert note.body["predictions"] == [sum(good[note.request - 2])], note


def test_a_payload_that_ends_its_stage_is_poison_alone(
    publisher: Publisher, tmp_path: Path, run: Run
) -> None:
    publisher.publish("sums", staged.sums(tmp_path / "sums").folder)
    with run("sums") as service:
        good = [body(bytes([number]) * 5000) for number in range(8)]
        with Load(service.address, good, connections=4) as load:
            load.wait(20)
            answer = ask(service, b"die")
            load.wait(20)
        assert answer.status_code == 500
        assert "refused" in answer.json()["error"]
        assert load.report.failed == []


def test_killed_and_hanging_stages_fail_no_request(
    publisher: Publisher, tmp_path: Path, run: Run
) -> None:
    publisher.publish("sums", staged.sums(tmp_path / "sums").folder)
    good = [random.Random(number).randbytes(50_000) for number in range(16)]
    settings = {"serving_batch_timeout": 0.5}
    with run("sums", **settings) as service:
        bodies = list(map(body, good))
        with Load(service.address, bodies, connections=8) as load:
            for _ in range(4):
                load.wait(40)
                os.kill(service.processes("pen:pre:sums")[0], signal.SIGKILL)
                eventually("another", lambda: len(service.processes("pen:pre:sums")) == 2)
            victim = service.processes("pen:pre:sums")[0]
            os.kill(victim, signal.SIGSTOP)
            eventually("its end", lambda: not alive(victim))
            eventually("another", lambda: len(service.processes("pen:pre:sums")) == 2)
            load.wait(40)
    assert load.report.failed == []
    for note in load.report.notes:
        assert note.body["predictions"] == [sum(good[note.request])]


def test_a_dead_gateway_takes_nothing_of_a_stage_with_it(
    publisher: Publisher, tmp_path: Path, run: Run
) -> None:
    """Stage processes stay; what they had mapped of a gateway that is gone they let go of."""
    publisher.publish("sums", staged.sums(tmp_path / "sums").folder)
    with run("sums") as service:
        stages = service.processes("pen:pre:sums")
        for number in range(4):
            gateway = service.processes("pen:gateway")[0]
            os.kill(gateway, signal.SIGKILL)
            eventually("its end", partial(gone, gateway))
            payload = bytes([number]) * 100_000
            eventually("an answer", partial(summed, service, payload))
        assert service.processes("pen:pre:sums") == stages
        for stage in stages:
            maps = Path(f"/proc/{stage}/maps").read_text()
            assert maps.count("penstock-payloads") == 1


@pytest.mark.parametrize("version", [3, 4])
def test_a_stage_that_cannot_answer_makes_way_for_the_model_before(
    publisher: Publisher, tmp_path: Path, run: Run, version: int
) -> None:
    """Whether it raises (the trial counts it) or its processes end (the breaker opens)."""
    publisher.publish("sums", staged.sums(tmp_path / "good").folder)
    settings = {"serving_breaker_deaths": 2, "serving_trial_requests": 4}
    with run("sums", **settings) as service:
        publisher.publish("sums", staged.sums(tmp_path / "bad", version).folder)
        service.wait_for_page("2: active")
        statuses = [ask(service, b"\x01").status_code for _ in range(4)]
        assert 500 in statuses
        eventually("the way back", lambda: sum_of(ask(service, b"\x01\x02")) == 3)
        assert service.revision("sums") == 1


def test_a_client_that_goes_away_leaves_nothing_behind(sums: Service) -> None:
    host, _, port = sums.address.rpartition(":")
    payload = b"sleep" + bytes(500_000)
    head = (
        f"POST /v2/models/sums/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {len(payload)}\r\n"
        "inference-header-content-length: 0\r\n\r\n"
    )
    for _ in range(6):
        with socket.create_connection((host, int(port))) as client:
            client.sendall(head.encode() + payload)
    empty = "\npenstock_payload_bytes{} 0\n"
    eventually("no payload", lambda: empty in sums.get("/metrics").text)
    assert sum_of(ask(sums, b"\x05")) == 5


def test_reloads_between_versions_of_a_stage_never_mix_them(
    publisher: Publisher, tmp_path: Path, run: Run
) -> None:
    """Each answer is that of the version that it names, and none fails."""
    factors = {}
    for version in (1, 2):
        bundle = staged.sums(tmp_path / f"v{version}", version)
        factors[publisher.publish("sums", bundle.folder).version[:16]] = version
    good = [random.Random(number).randbytes(3000) for number in range(16)]
    references = [publisher.commit("sums", tmp_path / f"v{version}") for version in (1, 2)]
    with run("sums") as service:
        with Load(service.address, list(map(body, good)), connections=8) as load:
            for revision in range(3, 9):
                load.wait(30)
                publisher.point("sums", references[revision % 2])
                eventually("the flip", partial(reached, service, revision))
            load.wait(30)
        # Those that end stand back behind everything else.
        eventually("two stages", lambda: len(service.processes("pen:pre:sums")) == 2)
    assert load.report.failed == []
    assert len(load.report.versions) == 2
    for note in load.report.notes:
        assert note.body["predictions"] == [factors[note.version] * sum(good[note.request])]


def test_reloads_that_add_and_remove_stages_fail_no_request(
    publisher: Publisher, tmp_path: Path, run: Run
) -> None:
    """What waits for a place that is there no more begins its way again, with the rows as they came."""
    trained = models.train(tmp_path / "t", flavor="lightgbm", seed=1, signature=models.NUMERIC)
    kinds = {"plain": ("", ""), "before": ("negates", ""), "both": ("negates", "percent")}
    kinds["after"] = ("", "percent")
    rows = [models.row(models.NUMERIC, number) for number in range(150)]
    oracle = models.Oracle(trained)
    plain = oracle.predict(rows)
    negated = oracle.predict([{name: -value for name, value in row.items()} for row in rows])
    references, answers = [], {}
    for kind, stages in kinds.items():
        pre, post = (f"payloads/{name}" if name else "" for name in stages)
        bundle = staged.numeric(tmp_path / kind, trained, pre, post)
        references.append(publisher.commit("flights", bundle.folder))
        scale = 100 if post else 1
        answers[references[-1].version[:16]] = [
            scale * value for value in (negated if pre else plain)
        ]
    order = [0, 1, 2, 0, 3, 1, 3, 2, 0, 2]
    publisher.point("flights", references[0])
    sent = json.dumps({"instances": [list(row.values()) for row in rows]}).encode()
    with run() as service, Load(service.address, [sent], connections=6) as load:
        for revision, which in enumerate(order[1:], start=2):
            load.wait(20)
            publisher.point("flights", references[which])
            service.wait_for_page(f"{revision}: active")
        load.wait(20)
    assert load.report.failed == []
    assert len(load.report.versions) == 4
    for note in load.report.notes:
        assert note.body["predictions"] == answers[note.version]


def test_a_stage_that_is_not_here_or_has_changed_is_rejected(
    publisher: Publisher, tmp_path: Path, run: Run
) -> None:
    publisher.publish("sums", staged.sums(tmp_path / "v1").folder)
    spoiled = {
        "version": ("sums version 7", lambda use: use.update(version=7)),
        "usecase": ("has none in usecases/nowhere", lambda use: use.update(usecase="nowhere")),
        "numbers": ("other numbers", lambda use: use["recorded"].update(outputs=[[1], [2]])),
        "columns": ("other columns", lambda use: use["inputs"][0].update(missing="nan")),
    }
    with run("sums") as service:
        for revision, (name, (reason, change)) in enumerate(spoiled.items(), start=2):
            folder = staged.sums(tmp_path / name).folder
            header = json.loads((folder / "bundle.json").read_text())
            change(header["stages"]["pre"])
            (folder / "bundle.json").write_text(json.dumps(header))
            publisher.publish("sums", folder)
            service.wait_for_page(f"{revision}: rejected")
            assert reason in service.get("/").text
            assert service.revision("sums") == 1
            assert service.ready


def test_the_memory_for_payloads_is_bounded_and_given_back(sums: Service) -> None:
    """What can never fit is 413, what does not fit now is 503; and nothing is left behind."""
    assert ask(sums, bytes(5 << 20)).status_code == 413
    gateway = sums.processes("pen:gateway")[0]
    assert sum_of(ask(sums, b"")) == 0
    opened = len(descriptors(gateway))
    slow = b"sleep" + bytes(1 << 20)
    with ThreadPoolExecutor(12) as several, httpx.Client(trust_env=False, timeout=60) as client:
        url = f"{sums.url}/v2/models/sums/infer"
        answers = list(
            several.map(lambda _: client.post(url, content=slow, headers=RAW), range(12))
        )
    refused = [answer for answer in answers if answer.status_code == 503]
    assert 0 < len(refused) < 12
    assert all(answer.headers["retry-after"] for answer in refused)
    assert {sum_of(answer) for answer in answers if answer.status_code == 200} == {sum(b"sleep")}
    for size in range(0, 300_000, 3000):
        assert sum_of(ask(sums, b"\x01" * size)) == size
    eventually("no payload", lambda: "\npenstock_payload_bytes{} 0\n" in sums.get("/metrics").text)
    eventually("no descriptor", lambda: len(descriptors(gateway)) <= opened)


def test_deadlines_hold_for_what_a_stage_has_not_begun_and_what_it_does(sums: Service) -> None:
    tensor = {"name": "payload", "shape": [1], "datatype": "BYTES", "data": ["sleep"]}
    asked = {"inputs": [tensor], "parameters": {"timeout": 50_000}}
    begun = time.monotonic()
    assert sums.post("/v2/models/sums/infer", asked).status_code == 504
    assert time.monotonic() - begun < 0.3
    eventually("an answer", lambda: sum_of(ask(sums, b"\x01")) == 1)


def test_what_is_at_a_stage_is_answered_before_the_service_ends(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.publish("sums", staged.sums(tmp_path / "sums").folder)
    with service(publisher, tmp_path / "service", "sums") as running, ThreadPoolExecutor(8) as many:
        url = f"{running.url}/v2/models/sums/infer"
        asked = [
            many.submit(httpx.post, url, content=b"sleep", headers=RAW, trust_env=False, timeout=60)
            for _ in range(8)
        ]
        waiting = '\npenstock_inference_pending_request_count{model="sums"} 8\n'
        eventually("all requests", lambda: waiting in running.get("/metrics").text)
        running.process.send_signal(signal.SIGTERM)
        assert [sum_of(each.result()) for each in asked] == [sum(b"sleep")] * 8
