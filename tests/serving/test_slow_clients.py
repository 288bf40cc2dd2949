"""Clients that are slow on purpose, against a real service: limits hold, and others are answered."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from serving.gauges import resident_bytes
from tests.serving.conftest import BODIES, ROWS, Trained
from tests.serving.rig import Publisher, Service, eventually, service

#: Seconds in which a request must arrive and an answer be read, and for which nothing may happen.
READ, IDLE = 1.0, 5.0
MOST = 48
#: Seconds that a busy machine may add to a limit.
SLACK = 15.0


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, bundles: dict[str, Trained]
) -> Iterator[Service]:
    """A service with short limits, and few connections."""
    folder = tmp_path_factory.mktemp("guarded")
    publisher = Publisher(folder)
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    running = service(
        publisher, folder / "service", "flights", serving_read_timeout=READ,
        serving_idle_timeout=IDLE, serving_max_connections=MOST, serving_max_queue_rows=40_000,
    )  # fmt: skip
    with running as started:
        yield started


def connect(to: Service) -> socket.socket:
    host, port = to.address.split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def head(length: int = 0) -> bytes:
    return (
        b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % length
    )


def answered(client: socket.socket) -> bool:
    """Whether one good request gets its answer on a connection."""
    client.sendall(head(len(BODIES[0])) + BODIES[0])
    received = b""
    while b"predictions" not in received:
        part = client.recv(65536)
        if not part:
            return False
        received += part
    return received.startswith(b"HTTP/1.1 200 ")


def drip(to: Service, text: bytes) -> tuple[float, bytes]:
    """Send a byte at a time until the server has had enough; the seconds that took, and its answer."""
    with connect(to) as client:
        begun = time.monotonic()
        client.settimeout(0.05)
        received = b""
        for place in range(10_000):
            try:
                client.sendall(text[place % len(text) : place % len(text) + 1])
                part = client.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                break
            if not part:
                break
            received += part
        return time.monotonic() - begun, received


@contextmanager
def a_good_client(to: Service) -> Iterator[list[float]]:
    """Somebody who asks all the time; yields how long each answer took."""
    stop, took = False, []

    def ask() -> None:
        while not stop:
            begun = time.monotonic()
            with connect(to) as client:
                assert answered(client)
            took.append(time.monotonic() - begun)
            time.sleep(0.02)

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            yield took
        finally:
            stop = True
        asking.result()


SLOW: dict[str, bytes] = {
    "headers": b"GET /v2 HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 9000,
    "many headers": b"GET /v2 HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 90,
    "body": head(9000) + b" " * 9000,
    "chunks": b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"1\r\n \r\n" * 3000,
}


@pytest.mark.parametrize("text", SLOW.values(), ids=SLOW)
def test_slow_requests_get_408_in_time_and_others_are_answered(
    guarded: Service, text: bytes
) -> None:
    attackers = MOST // 2
    with a_good_client(guarded) as took, ThreadPoolExecutor(attackers) as pool:
        ends = list(pool.map(lambda _: drip(guarded, text), range(attackers)))
    for seconds, received in ends:
        assert received.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in received
        assert READ <= seconds < READ + SLACK
    assert len(took) >= 5
    assert max(took) < SLACK


def never_read(to: Service) -> float:
    """Ask again and again and read nothing; the seconds until the server has had enough."""
    body = json.dumps({"dataframe_records": ROWS * 200}).encode()
    asked = memoryview(head(len(body)) + body)
    host, port = to.address.split(":")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((host, int(port)))
        client.settimeout(READ + 2 * SLACK)
        begun, sent = time.monotonic(), 0
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - begun < 4 * SLACK:
                sent = (sent + client.send(asked[sent:])) % len(asked)
        return time.monotonic() - begun


def test_who_never_reads_is_let_go_and_takes_little_memory(guarded: Service) -> None:
    (pid,) = guarded.processes("pen:gateway")
    before = resident_bytes(pid)
    with a_good_client(guarded) as took, ThreadPoolExecutor(6) as pool:
        ends = list(pool.map(lambda _: never_read(guarded), range(6)))
        grown = resident_bytes(pid) - before
    assert max(ends) < READ + 2 * SLACK
    assert grown < 100 << 20
    assert took


def test_idle_connections_up_to_the_limit_keep_nobody_out_for_long(guarded: Service) -> None:
    with ExitStack() as stack:
        early = stack.enter_context(connect(guarded))
        assert answered(early)
        idle: list[socket.socket] = []
        refused = b""
        for _ in range(2 * MOST):
            client = stack.enter_context(connect(guarded))
            client.settimeout(0.02)
            try:
                refused = client.recv(4096)
                break
            except TimeoutError:
                idle.append(client)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after" in refused.lower()
        assert len(idle) < MOST
        # Who is in is served, and who is idle goes.
        assert answered(early)
        eventually("room", lambda: fresh(guarded))
        for client in idle:
            client.settimeout(IDLE + SLACK)
            assert client.recv(4096) == b""


def fresh(to: Service) -> bool:
    """Whether a new connection is answered."""
    with connect(to) as client:
        return answered(client)


def test_the_service_is_as_before(guarded: Service, bundles: dict[str, Trained]) -> None:
    answer: Any = guarded.post("/invocations", {"dataframe_records": ROWS})
    assert answer.json()["predictions"] == bundles["lightgbm-1"].answers
    assert "request failed" not in guarded.log
