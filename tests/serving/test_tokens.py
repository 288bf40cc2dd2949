"""Clients show a token: who is admitted, how tokens change, and that nobody learns of them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.errors import ConfigError, Refused, Temporary
from registry.secrets.protocol import Fields
from registry.settings import Settings
from serving.errors import TokensMissing, Unauthorized
from serving.gateway.doorkeeper import Doorkeeper
from serving.gateway.exchange import Exchange
from serving.gateway.metrics import Metrics
from serving.tokens import ClientTokens, open_tokens
from tests.serving.conftest import ROWS, Trained
from tests.serving.rig import Publisher, Service, descendants, eventually, service

ALICE, BILLING = "alice-0123456789abcdef0123", "billing-0123456789abcdef01"
CANARY = "never-to-be-seen-0123456789"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, bundles: dict[str, Trained]
) -> Iterator[tuple[Service, Path]]:
    """A service whose clients need tokens, and the file that holds them."""
    folder = tmp_path_factory.mktemp("guarded")
    tokens = folder / "tokens.json"
    tokens.write_text(json.dumps({"alice": ALICE, "billing": BILLING}))
    publisher = Publisher(folder)
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    running = service(
        publisher, folder / "service", "flights",
        serving_tokens=f"file:{tokens}", serving_host="0.0.0.0", serving_allow_public=1,
    )  # fmt: skip
    with running as started:
        started.address = started.address.replace("0.0.0.0", "127.0.0.1")
        yield started, tokens


def asked(service: Service, path: str, **headers: str) -> int:
    return service.client.get(service.url + path, headers=headers).status_code


def test_health_is_open_and_the_rest_is_not(guarded: tuple[Service, Path]):
    running, _ = guarded
    for path in ("/v2/health/live", "/v2/health/ready", "/ping", "/health", "/health/?x=y"):
        assert asked(running, path) == 200, path
    for path in ("/", "/v2", "/v2/models/flights", "/metrics", "/version", "/nothing", "//ping"):
        assert asked(running, path) == 401, path
        assert asked(running, path, **bearer(ALICE)) in (200, 404), path
    refused = running.client.post(f"{running.url}/invocations", json={"instances": ROWS})
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == 'Bearer realm="penstock"'
    assert "Authorization: Bearer" in refused.json()["message"]


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", f"Bearer {ALICE}x", f"Bearer {ALICE[:-1]}", f"Basic {ALICE}", ALICE,
     f"Bearer {ALICE} {BILLING}", f"Bearer {ALICE}, Bearer {ALICE}", "Bearer \xff\xfe"],
)  # fmt: skip
def test_what_is_no_token(guarded: tuple[Service, Path], value: str):
    headers = [(b"authorization", value.encode("latin-1"))]
    answer = guarded[0].client.get(f"{guarded[0].url}/v2", headers=headers)
    assert answer.status_code == 401
    assert ALICE not in answer.text
    assert BILLING not in answer.text


def test_two_headers_are_nobodys(guarded: tuple[Service, Path]):
    running, _ = guarded
    twice = [("authorization", f"Bearer {ALICE}"), ("authorization", f"Bearer {ALICE}")]
    assert running.client.get(f"{running.url}/v2", headers=twice).status_code == 401
    assert asked(running, "/v2", authorization=f"bearer  {BILLING}") == 200


def test_a_body_is_not_read_from_a_stranger(guarded: tuple[Service, Path]):
    host, _, port = guarded[0].address.partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n"
        client.sendall(head + b"Expect: 100-continue\r\n\r\n")
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"100 Continue" not in answer


def test_clients_are_counted_by_name(guarded: tuple[Service, Path]):
    running, _ = guarded
    asked(running, "/v2", **bearer(BILLING))
    text = running.client.get(f"{running.url}/metrics", headers=bearer(ALICE)).text
    assert 'penstock_inference_client_request_total{client="billing"}' in text
    assert 'request_failure_total{status="401"}' in text


def test_the_page_says_how_to_ask_and_no_secret(guarded: tuple[Service, Path]):
    running, _ = guarded
    page = running.client.get(running.url, headers=bearer(ALICE)).text
    assert "Authorization: Bearer $TOKEN" in page
    for text in (page, running.log):
        assert ALICE not in text
        assert BILLING not in text


def test_children_of_the_service_hold_no_secret(
    publisher: Publisher, bundles: dict[str, Trained], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    for name in ("VAULT_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("GATEWAY_TOKENS", f"alice={CANARY}")
    with service(publisher, tmp_path / "s", "flights", serving_tokens="env:GATEWAY_TOKENS") as run:
        assert asked(run, "/v2", **bearer(CANARY)) == 200
        for pid in descendants(run.process.pid):
            for name in ("environ", "cmdline"):
                assert CANARY.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()


def test_a_token_is_added_and_another_withdrawn_without_a_restart(guarded: tuple[Service, Path]):
    running, tokens = guarded
    new = "carol-0123456789abcdef012345"
    tokens.write_text(json.dumps({"alice": ALICE, "carol": new}))
    eventually("carol is known", lambda: asked(running, "/v2", **bearer(new)) == 200)
    assert asked(running, "/v2", **bearer(BILLING)) == 401
    tokens.write_text('{"alice": "short"}')  # a slip of whoever wrote it locks nobody out
    eventually("the slip is told", lambda: "tokens not read" in running.log)
    assert asked(running, "/v2", **bearer(ALICE)) == 200
    (gateway,) = running.processes("pen:gateway")
    with contextlib.suppress(ProcessLookupError):
        os.kill(gateway, 9)
    eventually("a new gateway knows them", lambda: asked(running, "/v2", **bearer(new)) == 200)
    assert asked(running, "/v2") == 401


def test_metrics_may_be_open():
    door = Doorkeeper(Metrics(), required=True, open_metrics=True)
    exchange = Exchange(None)  # type: ignore[arg-type]
    exchange.path = "/metrics"
    assert door.admit(exchange) is None
    exchange.path = "/v2"
    assert door.admit(exchange).status == 503  # type: ignore[union-attr]
    door.know({})
    assert door.admit(exchange).status == 401  # type: ignore[union-attr]


def test_a_service_without_its_tokens_does_not_start(tmp_path: Path):
    environment = {
        **os.environ,
        "PENSTOCK_VAR": str(tmp_path),
        "PENSTOCK_STORE": str(tmp_path),
        "PENSTOCK_SERVING_TOKENS": f"file:{tmp_path}/none",
    }
    command = [sys.executable, "-m", "serving", "--port", "0", "flights"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == ConfigError.exit_code
    assert f"file:{tmp_path}/none" in done.stderr


@pytest.mark.parametrize(
    "text", ["a=short", "a=has a blank in the middle of it", f"{'n' * 65}={CANARY}", "a=" + "é" * 30]
)  # fmt: skip
def test_a_weak_token_is_refused_and_not_shown(tmp_path: Path, text: str):
    file = tmp_path / "tokens"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        open_tokens(Settings.load({"PENSTOCK_SERVING_TOKENS": f"file:{file}"}))
    assert text.partition("=")[2] not in str(caught.value)


class Scripted:
    """A source that does what it is told."""

    name = "vault:secret/gateway"

    def __init__(self) -> None:
        self.answer: Callable[[], Fields] = lambda: {"alice": ALICE}

    def read(self) -> Fields:
        return self.answer()

    def forget(self) -> None: ...


def raising(error: Exception) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


def test_tokens_that_cannot_be_read_stay_for_a_while_only():
    source = Scripted()
    tokens = ClientTokens(source, keep_s=3600)
    tokens.open()
    known = tokens.digests
    source.answer = raising(Refused("no policy"))
    tokens._look()
    assert tokens.digests == known
    source.answer = raising(Temporary("sealed for too long"))
    tokens._look()
    assert tokens.digests is None
    source.answer = lambda: {"alice": ALICE}
    tokens._look()
    assert tokens.digests == known


@pytest.mark.parametrize(
    "shown", [b"", b"Basic abc", b"Bearer ", b"Bearer wrong", b"Bearer " + b"x"]
)
def test_callers_that_speak_no_http_are_asked_the_same(shown: bytes):
    door = Doorkeeper(Metrics(), required=True, open_metrics=False)
    assert isinstance(door.check(shown), TokensMissing)
    door.know({"alice": hashlib.sha256(ALICE.encode()).hexdigest()})
    assert isinstance(door.check(shown), Unauthorized)
    assert door.check(f"bearer {ALICE}".encode()) == "alice"
