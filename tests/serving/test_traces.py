"""A request can be followed: its names are in its answer and in the log, whatever becomes of it."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.ecs import OBJECTS
from serving.gateway import trace
from serving.gateway.access import AccessLog
from serving.gateway.metrics import Metrics
from tests.serving.conftest import BODIES, ROWS, Trained
from tests.serving.rig import Publisher, Service, eventually

Run = Callable[..., Any]
ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{ID}-b7ad6b7169203331-01"
NAMES = re.compile(
    rb"x-request-id: [A-Za-z0-9._:/+=@~-]{1,128}\r\n"
    rb"traceparent: 00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[01]\r\n"
)


@given(st.binary(max_size=200), st.binary(max_size=80))
def test_whatever_a_client_sends_the_names_are_well_formed(asked: bytes, parent: bytes) -> None:
    assert NAMES.fullmatch(trace.name({trace.REQUEST_ID: asked, trace.TRACEPARENT: parent}))


def test_names_that_nobody_gave_are_never_the_same() -> None:
    made = {trace.name({}) for _ in range(1000)}
    assert len(made) == 1000
    assert all(map(NAMES.fullmatch, made))


def test_forked_processes_do_not_count_alike() -> None:
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        os.write(writer, trace.name({}))
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read()[14:30] != trace.name({})[14:30]


@pytest.mark.parametrize(
    ("parent", "taken"),
    [
        (PARENT, f"00-{ID}-…-01"),
        (f"00-{ID}-b7ad6b7169203331-00", f"00-{ID}-…-00"),
        (f"00-{ID}-b7ad6b7169203331-ff", f"00-{ID}-…-01"),
        (f"cc-{ID}-b7ad6b7169203331-01-of-later", f"00-{ID}-…-01"),
        (f"ff-{ID}-b7ad6b7169203331-01", None),
        (f"00-{ID}-b7ad6b7169203331-01-more", None),
        (f"00-{ID.upper()}-b7ad6b7169203331-01", None),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", None),
        (f"00-{ID}-{'0' * 16}-01", None),
        (f"{PARENT}, {PARENT}", None),
        ("", None),
    ],
)
def test_a_trace_goes_on_if_it_can_be_trusted(parent: str, taken: str | None) -> None:
    names = trace.name({trace.TRACEPARENT: parent.encode()}).decode()
    found = re.search(r"traceparent: (00-\w{32})-(\w{16})-(\d\d)", names)
    assert found is not None
    assert found[2] != "b7ad6b7169203331"
    assert (taken is None) == (ID not in names)
    if taken is not None:
        assert f"{found[1]}-…-{found[3]}" == taken


def raw(service: Service, *requests: bytes) -> bytes:
    """What comes back on a connection of its own."""
    host, port = service.address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(b"".join(requests))
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


HEAD = b"Host: x\r\nX-Request-Id: mine-7\r\nTraceparent: " + PARENT.encode() + b"\r\n"
REQUESTS = {
    b"GET /v2 HTTP/1.1\r\n" + HEAD + b"\r\n": 200,
    b"HEAD /v2 HTTP/1.1\r\n" + HEAD + b"\r\n": 200,
    b"GET /metrics HTTP/1.1\r\n" + HEAD + b"\r\n": 200,
    b"GET /nothing HTTP/1.1\r\n" + HEAD + b"\r\n": 404,
    b"GET /invocations HTTP/1.1\r\n" + HEAD + b"\r\n": 405,
    b"POST /invocations HTTP/1.1\r\n" + HEAD + b"Content-Length: 1\r\n\r\n{": 400,
    b"POST /invocations HTTP/1.1\r\n" + HEAD + b"Content-Length: 99999999\r\n\r\n": 413,
    b"GET /v2 HTTP/1.1\r\n" + HEAD + b"Host: again\r\n\r\n": 400,
    b"GET /v2 HTTP/1.1\r\n" + HEAD + b"A: " + b"a" * 20000 + b"\r\n\r\n": 431,
}


@pytest.mark.parametrize(("request_", "status"), REQUESTS.items(), ids=lambda v: str(v)[:40])
def test_every_answer_carries_the_names_of_its_request(
    shared: Service, request_: bytes, status: int
) -> None:
    head = raw(shared, request_).partition(b"\r\n\r\n")[0].decode().lower()
    assert head.startswith(f"http/1.1 {status} ")
    assert "\r\nx-request-id: mine-7\r\n" in head
    assert f"\r\ntraceparent: 00-{ID}-" in head


def test_a_request_without_names_gets_some(shared: Service) -> None:
    answers = [shared.post("/invocations", {"dataframe_records": ROWS[:1]}) for _ in range(2)]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 2
    assert all(
        answer.headers["x-request-id"] in answer.headers["traceparent"] for answer in answers
    )
    assert all(answer.headers["x-model-version"] for answer in answers)


def test_the_log_tells_of_each_request(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run(serving_access_log=1) as service:
        headers = {"x-request-id": "mine-8", "traceparent": PARENT}
        answer = service.client.post(
            f"{service.url}/invocations", content=BODIES[0], headers=headers
        )
        service.get("/nothing?token=not-to-be-logged")
        eventually("the lines", lambda: '"url.path":"/nothing"' in service.log)
        lines = [json.loads(line) for line in service.log.splitlines() if line.startswith("{")]
        (line,) = [line for line in lines if line.get("http.request.id") == "mine-8"]
        assert line["trace.id"] == ID
        assert line["span.id"] in answer.headers["traceparent"]
        assert line["version"] == answer.headers["x-model-version"]
        assert (line["model"], line["revision"]) == ("flights", 1)
        assert line["http.response.status_code"] == 200
        assert line["http.response.body.bytes"] == len(answer.content)
        assert line["event.duration"] > 0
        assert "not-to-be-logged" not in service.log
        for line in lines:
            assert {"@timestamp", "log.level", "message", "ecs.version"} <= line.keys()
            assert not line.keys() & OBJECTS


def test_a_log_that_nobody_reads_holds_up_nobody() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, True)
    metrics = Metrics()
    log = AccessLog(1.0, metrics, out=writer)
    log._lines = [b"x" * 1000] * 1000
    log.flush()  # a pipe holds 64 KiB; whoever waited would wait for ever
    written = len(os.read(reader, 1 << 20).splitlines())
    assert 40 < written < 100
    assert metrics.values()["log_dropped_total", ()] == [1000 - written]
    os.close(reader)
    os.close(writer)
