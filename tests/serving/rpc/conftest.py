"""A service that speaks gRPC too, and a real client of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tritonclient.grpc as triton

from tests.serving.conftest import Trained
from tests.serving.rig import PATIENCE, Publisher, Service, eventually, service


def client_of(running: Service, authority: Path | None = None) -> triton.InferenceServerClient:
    """A client, as soon as the gateway answers; over TLS if it trusts the certificate `authority`."""
    client = triton.InferenceServerClient(
        running.grpc_address,
        ssl=authority is not None,
        root_certificates=str(authority) if authority is not None else None,
    )
    eventually("gRPC", lambda: ready(client))
    return client


def ready(client: triton.InferenceServerClient) -> bool:
    """Whether the gateway says that it is ready."""
    try:
        return bool(client.is_server_ready(client_timeout=PATIENCE))
    except triton.InferenceServerException:
        return False


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, bundles: dict[str, Trained]
) -> Iterator[Service]:
    """A service of one model that the tests of a module share and do not change."""
    folder = tmp_path_factory.mktemp("rpc")
    publisher = Publisher(folder)
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    running = service(
        publisher, folder / "service", "flights",
        serving_grpc_port=0, serving_max_body=100_000, serving_max_queue_rows=500,
    )  # fmt: skip
    with running as started:
        yield started


@pytest.fixture(scope="module")
def client(served: Service) -> Iterator[triton.InferenceServerClient]:
    """A client of `served`."""
    with client_of(served) as made:
        yield made
