"""The endpoint over TLS: what is spoken, how certificates are renewed, what is refused."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.errors import ConfigError
from registry.settings import Settings
from serving.encryption import Encryption, open_encryption
from serving.loadclient import Load
from serving.options import Options
from tests.serving.certificates import certify, digest, shown
from tests.serving.conftest import BODIES, ROWS, Trained
from tests.serving.rig import Publisher, Service, eventually, service


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
    given: dict[str, Any] = {
        "serving_tls_certificate": files[0],
        "serving_tls_key": files[1],
        "serving_read_timeout": 2,
    }
    with service(publisher, folder / "service", **given) as running:
        yield running


def test_predictions_come_over_tls(secure: Service, bundles: dict[str, Trained]) -> None:
    answer = secure.post("/invocations", {"dataframe_records": ROWS * 60})
    assert answer.json()["predictions"] == bundles["lightgbm-1"].answers * 60
    assert f"https://{secure.address}/v2/models/flights/infer" in secure.get("/").text
    refused = secure.client.post(f"{secure.url}/invocations", content=b"x" * (17 << 20))
    assert refused.status_code == 413


def test_load_over_tls(secure: Service, files: tuple[Path, Path]) -> None:
    trust = ssl.create_default_context(cafile=str(files[0]))
    with Load(secure.address, BODIES, connections=8, limit=200, tls=trust) as load:
        load.wait(200)
    assert not load.report.failed
    assert len(load.report.notes) >= 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_what_is_spoken(secure: Service, version: ssl.TLSVersion) -> None:
    context = ssl._create_unverified_context()
    context.minimum_version = context.maximum_version = version
    host, port = secure.address.split(":")
    with (
        socket.create_connection((host, int(port)), timeout=60) as plain,
        context.wrap_socket(plain) as wrapped,
    ):
        assert wrapped.version() == version.name.replace("_", ".")


def test_what_is_old_is_refused(files: tuple[Path, Path]) -> None:
    encryption = open_encryption(*map(str, files))
    assert encryption is not None
    assert encryption.context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_client_that_never_shakes_hands_or_speaks_in_the_clear_is_let_go(secure: Service) -> None:
    host, port = secure.address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as silent:
        assert silent.recv(1) == b""
    with socket.create_connection((host, int(port)), timeout=60) as clear:
        clear.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b"".join(iter(lambda: clear.recv(4096), b""))
    assert b"HTTP" not in received
    assert secure.ready


def test_a_renewed_certificate_is_shown_without_a_restart(
    publisher: Publisher, bundles: dict[str, Trained], run: Callable[..., Any], tmp_path: Path
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    certificate, key = certify(tmp_path, "live")
    before = digest(certificate)
    authority = tmp_path / "before.pem"
    authority.write_bytes(certificate.read_bytes())
    with run(serving_tls_certificate=certificate, serving_tls_key=key) as running:
        assert shown(running.address) == before
        newer, newer_key = certify(tmp_path, "newer")
        # First the certificate alone, which the old key does not fit: the old pair goes on.
        newer.replace(certificate)
        eventually("the odd pair is told", lambda: "certificate not renewed" in running.log)
        assert shown(running.address) == before
        newer_key.replace(key)
        after = digest(certificate)
        eventually("the new one", lambda: shown(running.address) == after)
        # The connection that was there before goes on.
        assert running.post("/invocations", json.loads(BODIES[0])).status_code == 200


def test_files_that_cannot_be_used_are_named(tmp_path: Path, files: tuple[Path, Path]) -> None:
    other = certify(tmp_path, "other")
    (tmp_path / "rubbish").write_text("-----BEGIN")
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "pkey", "-in", files[1], "-aes256", "-passout", "pass:x", "-out", locked],
        check=True, capture_output=True,
    )  # fmt: skip
    for key in (other[1], tmp_path / "none", tmp_path / "rubbish", locked):
        with pytest.raises(ConfigError, match=key.name):
            Encryption(str(files[0]), str(key))
    with pytest.raises(ConfigError, match="only one"):
        open_encryption(str(files[0]), "")
    assert open_encryption("", "") is None


def test_a_public_address_without_tls_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    public = {"serving_host": "192.0.2.1", "serving_allow_public": "1",
              "serving_tokens": "env:NOTHING"}  # fmt: skip
    Options.from_settings(Settings.load({}, **public)).tell_exposure()
    assert "no TLS" in capsys.readouterr().out
    Options.from_settings(Settings.load({}, **public, serving_tls_certificate="c")).tell_exposure()
    assert "no TLS" not in capsys.readouterr().out
