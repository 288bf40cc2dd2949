"""The endpoint as clients see it: both protocols, good requests and bad."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from typing import Any

import pytest

from tests.serving.conftest import ROWS, Trained
from tests.serving.models import SIGNATURE
from tests.serving.rig import Service

DATATYPES = {"float64": "FP64", "int64": "INT64", "category": "BYTES"}


def tensors(rows: list[dict[str, Any]], *, nested: bool = False) -> list[dict[str, Any]]:
    """Rows as one tensor for each column."""
    made = []
    for member in SIGNATURE.inputs:
        data = [row[member.name] for row in rows]
        shape = [len(rows), 1] if nested else [len(rows)]
        data = [[value] for value in data] if nested else data
        kind = DATATYPES[member.type]
        made.append({"name": member.name, "shape": shape, "datatype": kind, "data": data})
    return made


@pytest.mark.parametrize("nested", [False, True])
def test_infer(shared: Service, bundles: dict[str, Trained], nested: bool) -> None:
    body = {"id": "call-7", "inputs": tensors(ROWS, nested=nested)}
    answer = shared.post("/v2/models/flights/infer", body)
    assert answer.status_code == 200
    content = answer.json()
    assert content["id"] == "call-7"
    assert content["model_name"] == answer.headers["x-model-name"] == "flights"
    assert content["model_version"] == answer.headers["x-model-version"]
    (output,) = content["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("probability", "FP64", [16])
    assert output["data"] == bundles["lightgbm-1"].answers


def by_columns(rows: list[dict[str, Any]]) -> list[list[Any]]:
    return [[row[name] for name in SIGNATURE.names] for row in rows]


def shuffled(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = list(reversed(SIGNATURE.names))
    return {"columns": names, "data": [[row[name] for name in names] for row in rows]}


FORMS = {
    "dataframe_split": {"columns": list(SIGNATURE.names), "data": by_columns(ROWS)},
    "dataframe_records": ROWS,
    "instances": ROWS,
    "inputs": {name: [row[name] for row in ROWS] for name in SIGNATURE.names},
}


@pytest.mark.parametrize("form", FORMS)
def test_invocations(shared: Service, bundles: dict[str, Trained], form: str) -> None:
    answer = shared.post("/invocations", {form: FORMS[form]})
    assert answer.status_code == 200
    assert answer.json()["predictions"] == bundles["lightgbm-1"].answers
    assert answer.json()["model_version"] == answer.headers["x-model-version"]


@pytest.mark.parametrize(
    "body",
    [
        {"instances": by_columns(ROWS)},
        {"inputs": by_columns(ROWS)},
        {"dataframe_split": shuffled(ROWS)},
        {"dataframe_split": {"data": by_columns(ROWS)}},
        {"instances": ROWS, "params": {"ignored": 1}},
    ],
)
def test_invocations_in_other_shapes(
    shared: Service, bundles: dict[str, Trained], body: dict[str, Any]
) -> None:
    answer = shared.post("/invocations", body)
    assert answer.json()["predictions"] == bundles["lightgbm-1"].answers


def test_missing_and_unseen_values(shared: Service) -> None:
    absent: dict[str, Any] = {"distance": None, "hour": None, "carrier": None}
    rows = [absent, {**absent, "carrier": "never seen"}]
    predictions = shared.post("/invocations", {"dataframe_records": rows}).json()["predictions"]
    assert predictions[0] == predictions[1]


def changed(**tensor: Any) -> dict[str, Any]:
    """A request whose first tensor is changed."""
    inputs = tensors(ROWS[:1])
    inputs[0] |= tensor
    return {"inputs": inputs}


BAD_INFER: dict[str, tuple[Any, str]] = {
    "not an object": ([], "object"),
    "no inputs": ({}, "inputs"),
    "inputs of a wrong type": ({"inputs": 3}, "inputs"),
    "no shape": ({"inputs": [{"name": "x", "datatype": "FP64", "data": []}]}, "shape"),
    "a missing column": ({"inputs": tensors(ROWS[:1])[1:]}, "distance"),
    "an unknown column": (changed(name="speed"), "speed"),
    "a column twice": ({"inputs": tensors(ROWS[:1]) * 2}, "twice"),
    "an unknown datatype": (changed(datatype="FP99"), "distance"),
    "text for a number": (changed(datatype="BYTES", data=["x"]), "distance"),
    "a number for a text": ({"inputs": [*tensors(ROWS[:1])[:2], {
        "name": "carrier", "datatype": "INT64", "shape": [1], "data": [1]}]}, "carrier"),
    "a string among numbers": (changed(data=["x"]), "distance"),
    "true for a number": (changed(data=[True]), "distance"),
    "an object as a value": (changed(data=[{}]), "distance"),
    "fewer values than the shape": (changed(shape=[2]), "distance"),
    "a negative shape": (changed(shape=[-1]), "distance"),
    "three dimensions": (changed(shape=[1, 1, 1], data=[[[1.0]]]), "distance"),
    "columns of unequal length": (changed(shape=[2], data=[1.0, 2.0]), "distance"),
    "half an hour": ({"inputs": [tensors(ROWS[:1])[0], {
        "name": "hour", "datatype": "FP64", "shape": [1], "data": [0.5]},
        tensors(ROWS[:1])[2]]}, "hour"),
    "a huge integer": (changed(data=[10**400]), ""),
    "no rows": ({"inputs": tensors([])}, "no rows"),
    "an unknown output": ({"inputs": tensors(ROWS), "outputs": [{"name": "odds"}]}, "odds"),
    "a timeout in words": ({"inputs": tensors(ROWS), "parameters": {"timeout": "1"}}, "timeout"),
    "a matrix with texts": ({"inputs": [
        {"name": "x", "datatype": "FP64", "shape": [1, 3], "data": [1, 2, 3]}]}, "carrier"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD_INFER)
def test_bad_infer_is_a_400_that_names_the_field(shared: Service, fault: str) -> None:
    body, field = BAD_INFER[fault]
    answer = shared.post("/v2/models/flights/infer", body)
    assert answer.status_code == 400
    assert field in answer.json()["error"]


BAD_INVOCATION: dict[str, tuple[Any, str]] = {
    "nothing": ({}, "dataframe_split"),
    "two forms": ({"instances": ROWS, "inputs": []}, "exactly one"),
    "a list": ([], "object"),
    "an unknown column": ({"dataframe_records": [{**ROWS[0], "speed": 1}]}, "speed"),
    "a missing column": ({"dataframe_records": [{"hour": 1, "carrier": "AA"}]}, "distance"),
    "a record that is none": ({"dataframe_records": [ROWS[0], 3]}, "dataframe_records"),
    "an instance that is none": ({"instances": [ROWS[0], 3]}, "record 1"),
    "a short row": ({"instances": [[1.0, 2]]}, "row 0"),
    "a ragged row": ({"inputs": [[1.0, 2, "AA"], [1.0, 2]]}, "row 1"),
    "a flat list": ({"instances": [1.0, 2.0]}, "row 0"),
    "a column twice": ({"dataframe_split": {"columns": ["hour"] * 2, "data": []}}, "twice"),
    "a wrong value": ({"instances": [["far", 2, "AA"]]}, "distance"),
    "no rows": ({"instances": []}, "no rows"),
}


@pytest.mark.parametrize("fault", BAD_INVOCATION)
def test_bad_invocation_is_a_400_that_names_the_field(shared: Service, fault: str) -> None:
    body, field = BAD_INVOCATION[fault]
    answer = shared.post("/invocations", body)
    assert answer.status_code == 400
    assert answer.json()["error_code"] == "BAD_REQUEST"
    assert field in answer.json()["message"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b'{"inputs": NaN}', b"[" * 10000, b'{"inputs":[]} x']
)
@pytest.mark.parametrize("path", ["/v2/models/flights/infer", "/invocations"])
def test_bytes_that_are_no_json(shared: Service, path: str, body: bytes) -> None:
    answer = shared.client.post(shared.url + path, content=body)
    assert answer.status_code == 400


def test_paths(shared: Service) -> None:
    version = shared.get("/v2/models/flights").json()["versions"][0]
    statuses = {
        "/": 200, "/v2": 200, "/v2/": 200, "/v2/health/live": 200, "/v2/health/ready": 200,
        "/ping": 200, "/health": 200, "/version": 200, "/metrics": 200,
        "/v2/models/flights": 200, "/v2/models/flights/ready": 200, "/v2/models/flights?x=y": 200,
        f"/v2/models/flights/versions/{version}": 200,
        "/v2/models/flights/versions/1/ready": 200,
        "/v2/models/flights/versions/99": 404, "/v2/models/other": 404, "/v2/models": 404,
        "/v2/models/flights/nothing": 404, "/v2/models/fl%2Fights": 404, "/nothing": 404,
        "/invocations": 405, "/v2/models/flights/infer": 405,
    }  # fmt: skip
    assert {path: shared.get(path).status_code for path in statuses} == statuses
    refused = shared.get("/invocations")
    assert refused.headers["allow"] == "POST"
    assert shared.post("/v2/health/live", {}).status_code == 405
    assert shared.client.head(f"{shared.url}/v2").content == b""


def test_metadata(shared: Service) -> None:
    server = shared.get("/v2").json()
    assert (server["name"], server["version"]) == ("penstock", "0.1.0")
    assert shared.get("/v2/health/live").json() == {"live": True}
    assert shared.get("/v2/health/ready").json() == {"ready": True}
    metadata = shared.get("/v2/models/flights").json()
    assert metadata["inputs"][2] == {"name": "carrier", "datatype": "BYTES", "shape": [-1]}
    assert metadata["outputs"] == [{"name": "probability", "datatype": "FP64", "shape": [-1]}]


def test_the_line_on_the_page_can_be_pasted(shared: Service) -> None:
    page = shared.get("/").text
    assert "revision" in page
    assert "by tester" in page
    found = re.search(r"<pre>(curl .*?)</pre>", page, re.DOTALL)
    assert found is not None
    from html import unescape

    out = subprocess.run(["bash", "-c", unescape(found[1])], capture_output=True, check=True)
    assert json.loads(out.stdout)["outputs"][0]["name"] == "probability"


def test_metrics(shared: Service) -> None:
    shared.post("/invocations", {"dataframe_records": ROWS})
    text = shared.get("/metrics").text
    for name in ("request_success_total", "count_total", "exec_count_total", "ready"):
        assert re.search(
            rf'^penstock_inference_{name}{{model="flights".*}} [1-9]', text, re.MULTILINE
        )
    for line in text.splitlines():
        assert re.fullmatch(r"(# (HELP|TYPE) .*|\w+\{.*\} [0-9.e+-]+)", line)


def test_a_timeout_beyond_all_numbers_is_the_longest(shared: Service) -> None:
    body = {"inputs": tensors(ROWS[:1]), "parameters": {"timeout": 10**400}}
    assert shared.post("/v2/models/flights/infer", body).status_code == 200


def test_a_name_that_no_text_can_hold_is_refused(shared: Service) -> None:
    """Half a surrogate pair beside a NaN, which Python's JSON reads; the connection goes on."""
    body = b'{"dataframe_records": [{"distance": NaN, "\\ud800": 1}]}'
    answer = shared.client.post(f"{shared.url}/invocations", content=body, timeout=10)
    assert answer.status_code == 400
    assert shared.post("/invocations", {"dataframe_records": ROWS[:1]}).status_code == 200


def test_an_unknown_compression_is_refused(shared: Service) -> None:
    for coding in ("br", "gzip, deflate"):
        answer = shared.client.post(
            f"{shared.url}/invocations", content=b"x", headers={"content-encoding": coding}
        )
        assert answer.status_code == 415


def test_errors_hold_nothing_internal(shared: Service) -> None:
    for body, _ in (*BAD_INFER.values(), *BAD_INVOCATION.values()):
        for path in ("/v2/models/flights/infer", "/invocations"):
            text = shared.post(path, body).text
            assert not re.search(r"Traceback|/work|/tmp|\.py|registry|msgspec|numpy", text)


def test_one_connection_many_pipelined_requests(shared: Service) -> None:
    host, port = shared.address.split(":")
    body = json.dumps({"dataframe_records": ROWS[:1]}).encode()
    head = f"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall((head.encode() + body) * 50)
        data = b""
        while data.count(b"HTTP/1.1 200 OK") < 50 or not data.endswith(b"}"):
            received = connection.recv(65536)
            assert received
            data += received


def test_a_large_request_is_answered_whole(shared: Service, bundles: dict[str, Trained]) -> None:
    answer = shared.post("/invocations", {"dataframe_records": ROWS * 60})
    assert answer.json()["predictions"] == bundles["lightgbm-1"].answers * 60


def test_more_rows_than_the_queue_holds(shared: Service) -> None:
    answer = shared.post("/invocations", {"dataframe_records": ROWS * 300})
    assert answer.status_code == 413
    assert "4096" in answer.json()["message"]
