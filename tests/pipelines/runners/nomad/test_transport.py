"""Where Nomad is and how to be let in, from the variables of Nomad's own command line."""

from __future__ import annotations

import io
import threading

import pytest

from pipelines.runners.nomad.client import NomadClient
from pipelines.runners.nomad.errors import NomadAway
from pipelines.runners.nomad.transport import Access
from registry.errors import ConfigError
from registry.logs import configure
from tests.contracts.rigs import PATIENCE, eventually

HTTPS = {"NOMAD_ADDR": "https://127.0.0.1:1"}


@pytest.mark.parametrize("address", ["", "127.0.0.1:4646", "unix:///run/nomad.sock", "http://"])
def test_an_address_that_cannot_be_used_is_named(address):
    with pytest.raises(ConfigError, match="NOMAD_ADDR"):
        Access.of({"NOMAD_ADDR": address})


def test_the_variables_of_nomad_are_read(tmp_path):
    file = tmp_path / "file.pem"
    file.touch()
    access = Access.of(
        {
            "NOMAD_ADDR": "https://nomad.example.com:4646/",
            "NOMAD_TOKEN": "a-secret",
            "NOMAD_NAMESPACE": "team",
            "NOMAD_REGION": "eu",
            "NOMAD_CACERT": str(file),
            "NOMAD_CLIENT_CERT": str(file),
            "NOMAD_CLIENT_KEY": str(file),
            "NOMAD_TLS_SERVER_NAME": "server.eu.nomad",
        }
    )
    assert access.address == "https://nomad.example.com:4646"
    assert (access.namespace, access.region) == ("team", "eu")
    assert (access.ca, access.certificate) == (str(file), (str(file), str(file)))
    assert access.server_name == "server.eu.nomad"
    assert access.verify
    assert "a-secret" not in repr(access)


@pytest.mark.parametrize("name", ["NOMAD_CACERT", "NOMAD_CLIENT_CERT", "NOMAD_CLIENT_KEY"])
def test_a_file_that_is_not_there_is_named(name, tmp_path):
    with pytest.raises(ConfigError, match=name):
        Access.of({**HTTPS, name: str(tmp_path / "absent.pem")})


def test_a_certificate_needs_its_key(tmp_path):
    (tmp_path / "cert.pem").touch()
    with pytest.raises(ConfigError, match="only one of"):
        Access.of({**HTTPS, "NOMAD_CLIENT_CERT": str(tmp_path / "cert.pem")})


@pytest.mark.parametrize(
    ("text", "verify"), [("", True), ("0", True), ("1", False), ("true", False)]
)
def test_certificates_are_verified_unless_told_otherwise(text, verify):
    said = io.StringIO()
    configure("warning", said)
    access = Access.of({**HTTPS, "NOMAD_SKIP_VERIFY": text})
    assert access.verify is verify
    client = NomadClient(access)
    assert ("NOMAD_SKIP_VERIFY" in said.getvalue()) is not verify
    client.close()


def test_namespace_and_region_go_with_every_request(nomad):
    """python-nomad leaves the namespace out of some."""
    team = {"NOMAD_NAMESPACE": "team", "NOMAD_REGION": "eu"}
    client = NomadClient(Access.of({"NOMAD_ADDR": nomad.address, **team}))
    client.children("p")
    client.blocked("p")
    client.allocations("p")
    client.nodes()
    client.close()
    assert len(nomad.requests) == 4
    assert {(r.query["namespace"], r.query["region"]) for r in nomad.requests} == {("team", "eu")}


def test_a_request_under_way_can_be_broken_off(nomad):
    client = NomadClient(Access.of({"NOMAD_ADDR": nomad.address}))
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            client.children("p", index=nomad.index, wait=600)
        except NomadAway as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    eventually(lambda: nomad.requests, "the request has arrived")
    client.close()
    thread.join(PATIENCE)
    assert len(raised) == 1
    with pytest.raises(NomadAway):  # nor does a later one begin
        client.children("p", index=nomad.index, wait=600)
