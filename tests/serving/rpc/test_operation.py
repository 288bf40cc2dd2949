"""The gRPC gateway as its operator sees it: tokens, deadlines, deaths, reloads, drain."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc as triton

from registry.errors import ConfigError, Refused
from serving.listeners import close_all, open_listeners
from serving.options import Options
from tests.serving.conftest import ROWS, Trained
from tests.serving.rig import PATIENCE, Publisher, Service, alive, eventually
from tests.serving.rpc.conftest import client_of
from tests.serving.rpc.test_clients import inputs

Run = Callable[..., Any]
ALICE = "alice-0123456789abcdef0123"


@contextmanager
def stopped(service: Service) -> Iterator[None]:
    """Workers that do nothing until the block ends."""
    pids = service.processes("pen:flights")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGCONT)


def status_of(act: Callable[[], Any]) -> str:
    """How a call ends: OK, or the name of its status."""
    try:
        act()
    except triton.InferenceServerException as error:
        return str(error.status()).removeprefix("StatusCode.")
    return "OK"


def asking(client: triton.InferenceServerClient, **options: Any) -> Callable[[], Any]:
    rows = options.pop("rows", 1)
    return lambda: client.infer("flights", inputs(ROWS[:rows]), **options)


def test_tokens_deadlines_and_cancelled_calls(
    publisher: Publisher, bundles: dict[str, Trained], run: Run, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens.json"
    tokens.write_text(json.dumps({"alice": ALICE}))
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    settings = {"serving_tokens": f"file:{tokens}", "serving_workers": 1}
    with (
        run(serving_grpc_port=0, serving_max_queue_rows=4, **settings) as service,
        client_of(service) as client,
    ):
        known = {"authorization": f"Bearer {ALICE}"}
        refuses(client, known)
        with stopped(service):
            waits(client, known)
        assert status_of(asking(client, headers=known)) == "OK"


def refuses(client: triton.InferenceServerClient, known: dict[str, str]) -> None:
    """Everything but health needs a token that is known."""
    assert client.is_server_live()
    unknown = {"authorization": "Bearer nobody"}
    calls: list[Callable[..., Any]] = [
        lambda **how: client.infer("flights", inputs(), **how),
        client.get_server_metadata,
        client.get_model_repository_index,
        lambda **how: client.is_model_ready("flights", **how),
        lambda **how: client.load_model("flights", **how),
    ]
    for call in calls:
        assert status_of(call) == "UNAUTHENTICATED"
        assert status_of(partial(call, headers=unknown)) == "UNAUTHENTICATED"
    for call in calls[1:]:
        assert status_of(partial(call, headers=known)) == "OK"
    ends: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: ends.put((result, error)))
    _, error = ends.get(timeout=PATIENCE)
    client.stop_stream()
    assert "a token is needed" in str(error)


def waits(client: triton.InferenceServerClient, known: dict[str, str]) -> None:
    """No worker answers: deadlines pass, calls are given up, and the queue of 4 rows is full."""
    ask = asking(client, headers=known, timeout=1000)
    assert status_of(ask) == "DEADLINE_EXCEEDED"
    assert status_of(asking(client, headers=known, client_timeout=0.2)) == "DEADLINE_EXCEEDED"
    fill(client, known)
    # Every row that was asked for in vain is gone again, so as many more may wait.
    fill(client, known)


def fill(client: triton.InferenceServerClient, known: dict[str, str]) -> None:
    """Ask until the queue is full, then cancel."""
    calls = []

    def full() -> bool:
        ask = asking(client, headers=known, rows=4, client_timeout=0.5)
        calls.append(
            client.async_infer("flights", inputs(ROWS[:1]), lambda **_: None, headers=known)
        )
        return status_of(ask) == "UNAVAILABLE"

    try:
        eventually("a full queue", full)
    finally:
        for call in calls:
            call.cancel()
    eventually(
        "room", lambda: status_of(asking(client, headers=known, timeout=1000)) != "UNAVAILABLE"
    )


def test_drain_answers_what_is_in_flight(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run(serving_grpc_port=0) as service, client_of(service) as client:
        answers: queue.Queue[Any] = queue.Queue()
        with stopped(service):
            client.async_infer(
                "flights", inputs(), lambda result, error: answers.put((result, error))
            )
            # Answered after the call above was admitted: both run on one loop, in turn.
            assert status_of(asking(client, timeout=1000)) == "DEADLINE_EXCEEDED"
            service.process.send_signal(signal.SIGTERM)
            host, port = service.grpc_address.split(":")
            eventually("a closed port", lambda: refused(host, int(port)))
        result, error = answers.get(timeout=PATIENCE)
        assert error is None
        assert result.as_numpy("probability").tolist() == bundles["lightgbm-1"].answers
        assert service.process.wait(60) == 0


def refused(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_reload_and_a_death_under_calls(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    """No call fails in a reload; the death of this gateway is not felt by clients of HTTP."""
    names = ["lightgbm-1", "lightgbm-2", "lightgbm-3"]
    publisher.publish("flights", bundles[names[0]].folder)
    with run(serving_grpc_port=0) as service, client_of(service) as client:
        seen: list[str] = []
        for name in names[1:]:
            publisher.publish("flights", bundles[name].folder)

            def changed(name: str = name) -> bool:
                result = client.infer("flights", inputs())
                seen.append(result.get_response().model_version)
                return bool(result.as_numpy("probability").tolist() == bundles[name].answers)

            eventually("the next version", changed)
        assert len([v for i, v in enumerate(seen) if i == 0 or v != seen[i - 1]]) == 3
        (pid,) = service.processes("pen:grpc")
        assert service.ready
        os.kill(pid, signal.SIGKILL)
        eventually("another gateway", lambda: set(service.processes("pen:grpc")) - {pid})
        eventually("its answer", lambda: status_of(asking(client)) == "OK")
        assert service.ready
        assert len(service.processes("pen:gateway")) == 1


@pytest.mark.usefixtures("no_fd_leaks")
def test_the_port_of_grpc() -> None:
    """It is kept from the start, and a second service on it fails."""
    first = open_listeners(Options(port=0, grpc_port=0))
    try:
        assert first.grpc_address is not None
        port = first.grpc_address[1]
        assert port != first.address[1]
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        with pytest.raises(Refused):
            open_listeners(Options(host="0.0.0.0", port=0, grpc_port=0))
        with pytest.raises(ConfigError, match="SERVING_PORT"):
            open_listeners(Options(port=first.address[1], grpc_port=0))
        with pytest.raises(ConfigError, match="GRPC_PORT"):
            open_listeners(Options(port=0, grpc_port=first.address[1]))
    finally:
        close_all([*first.http, *first.grpc])
