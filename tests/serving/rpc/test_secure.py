"""gRPC over TLS, with the clients that people use: what is spoken, renewed, refused."""

from __future__ import annotations

import asyncio
import queue
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio

from tests.serving.certificates import certify, digest, shown
from tests.serving.conftest import ROWS, Trained
from tests.serving.rig import PATIENCE, Publisher, Service, eventually, service
from tests.serving.rpc.conftest import client_of
from tests.serving.rpc.test_clients import inputs
from tests.serving.rpc.test_operation import status_of


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certify(tmp_path_factory.mktemp("tls"), "first")


@pytest.fixture(scope="module")
def secure(
    tmp_path_factory: pytest.TempPathFactory, bundles: dict[str, Trained], files: tuple[Path, Path]
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("secure")
    publisher = Publisher(folder)
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    running = service(
        publisher, folder / "service", serving_grpc_port=0, serving_read_timeout=2,
        serving_tls_certificate=files[0], serving_tls_key=files[1],
    )  # fmt: skip
    with running as started:
        yield started


def test_calls_and_streams_come_over_tls(
    secure: Service, bundles: dict[str, Trained], files: tuple[Path, Path]
) -> None:
    expected = bundles["lightgbm-1"].answers
    parts: queue.Queue[Any] = queue.Queue()
    with client_of(secure, files[0]) as client:
        assert client.infer("flights", inputs()).as_numpy("probability").tolist() == expected
        client.start_stream(lambda result, error: parts.put((result, error)))
        client.async_stream_infer("flights", inputs())
        result, error = parts.get(timeout=PATIENCE)
        client.stop_stream()
    assert error is None
    assert result.as_numpy("probability").tolist() == expected
    # One certificate for both ports.
    assert shown(secure.grpc_address) == shown(secure.address) == digest(files[0])


def test_asyncio_over_tls(
    secure: Service, bundles: dict[str, Trained], files: tuple[Path, Path]
) -> None:
    async def ask() -> Any:
        trust = {"ssl": True, "root_certificates": str(files[0])}
        async with triton_aio.InferenceServerClient(secure.grpc_address, **trust) as client:
            return (await client.infer("flights", inputs())).as_numpy("probability").tolist()

    assert asyncio.run(ask()) == bundles["lightgbm-1"].answers


def test_who_speaks_in_the_clear_or_does_not_trust_gets_nothing(
    secure: Service, files: tuple[Path, Path], tmp_path: Path
) -> None:
    stranger, _ = certify(tmp_path, "stranger")
    clear = triton.InferenceServerClient(secure.grpc_address)
    distrusting = triton.InferenceServerClient(
        secure.grpc_address, ssl=True, root_certificates=str(stranger)
    )
    for client in (clear, distrusting):
        with client:
            ask = partial(client.infer, "flights", inputs(), client_timeout=20)
            assert status_of(ask) == "UNAVAILABLE"
    with client_of(secure, files[0]) as good:
        assert good.is_server_ready()


def test_a_client_that_never_shakes_hands_is_let_go(secure: Service) -> None:
    host, port = secure.grpc_address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as silent:
        assert silent.recv(1) == b""


def test_a_renewed_certificate_is_shown_without_a_restart(
    publisher: Publisher, bundles: dict[str, Trained], run: Callable[..., Any], tmp_path: Path
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    certificate, key = certify(tmp_path, "live")
    before, authority = digest(certificate), tmp_path / "before.pem"
    authority.write_bytes(certificate.read_bytes())
    settings = {"serving_tls_certificate": certificate, "serving_tls_key": key}
    with (
        run(serving_grpc_port=0, **settings) as running,
        client_of(running, authority) as early,
    ):
        newer, newer_key = certify(tmp_path, "newer")
        # First the certificate alone, which the old key does not fit: the old pair goes on.
        newer.replace(certificate)
        eventually("the odd pair", lambda: running.log.count("certificate not renewed") == 2)
        assert shown(running.grpc_address) == before
        newer_key.replace(key)
        after = digest(certificate)
        eventually("the new one", lambda: shown(running.grpc_address) == after)
        # The connection that was there before goes on; a new one trusts the new certificate.
        assert early.infer("flights", inputs(ROWS[:1])).as_numpy("probability").shape == (1,)
        with client_of(running, certificate) as late:
            assert late.infer("flights", inputs(ROWS[:1])).as_numpy("probability").shape == (1,)
