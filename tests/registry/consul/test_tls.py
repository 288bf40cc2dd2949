"""TLS both ways: who answers is verified, and who asks can show a certificate.

Certificates are made by Consul's own command; the server is Python's.
"""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from registry.consul import Access
from registry.consul.client import Consul
from registry.errors import Temporary
from tests.proxies import Quiet
from tests.servers import fixtures


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority (`ca`), a server's and a client's certificate."""
    folder, program = tmp_path_factory.mktemp("tls"), fixtures.require("consul")
    for words in (
        ["ca", "create"],
        ["cert", "create", "-server", "-dc", "dc1"],
        ["cert", "create", "-client", "-dc", "dc1"],
    ):
        subprocess.run([program, "tls", *words], cwd=folder, check=True, capture_output=True)
    return folder


class Answering(Quiet):
    def do_GET(self) -> None:  # noqa: N802 (of the base class)
        self.reply(404, X_Consul_Index="7")


class Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A handshake that fails is what these tests are about."""


@pytest.fixture
def address(certificates: Path) -> Iterator[str]:
    """A server that demands a client's certificate."""
    context = ssl.create_default_context(
        ssl.Purpose.CLIENT_AUTH, cafile=certificates / "consul-agent-ca.pem"
    )
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(
        certificates / "dc1-server-consul-0.pem", certificates / "dc1-server-consul-0-key.pem"
    )
    server = Server(("127.0.0.1", 0), Answering)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def client(address: str, folder: Path, *, authority: bool = True, shown: bool = True) -> Consul:
    env = {"CONSUL_HTTP_ADDR": address, "CONSUL_HTTP_SSL": "true"}
    if authority:
        env["CONSUL_CACERT"] = str(folder / "consul-agent-ca.pem")
    if shown:
        env["CONSUL_CLIENT_CERT"] = str(folder / "dc1-client-consul-0.pem")
        env["CONSUL_CLIENT_KEY"] = str(folder / "dc1-client-consul-0-key.pem")
    return Consul(Access.from_environment(env))


def test_both_sides_show_certificates(address: str, certificates: Path) -> None:
    assert client(address, certificates).get("k").index == 7


def test_a_server_that_nobody_vouches_for_is_not_believed(address: str, certificates: Path) -> None:
    with pytest.raises(Temporary, match=r"TLS failed.*CONSUL_CACERT"):
        client(address, certificates, authority=False).get("k")


def test_a_client_without_certificate_is_sent_away(address: str, certificates: Path) -> None:
    with pytest.raises(Temporary, match="cannot be reached"):
        client(address, certificates, shown=False).get("k")
