"""Fixtures of the real servers. One that is missing skips on a laptop and fails in CI.

One server of a kind serves all tests of a session (of a worker, where there are several). A test
that only talks to it asks for the environment, which it finds set, and leaves nothing behind:

    def test_something(nomad_env):  # NOMAD_ADDR is set; nomad_env is the NomadServer
        ...                         # jobs are purged and tasks stopped afterwards
    def test_something(consul_env):  # CONSUL_HTTP_ADDR; keys and services are deleted afterwards
    def test_something(vault_env):  # VAULT_ADDR, VAULT_TOKEN (root); secrets stay: use own names
    def test_something(s3_url):  # AWS_*; an empty store
    def test_something(cluster_env):  # all of them, wired to each other; see tests/servers/cluster.py

`nomad_server`, `consul_server`, `vault_server`, `s3` and `cluster` are the same without touching
the environment: `nomad_server.environment` is what a subprocess needs, `nomad_server.api.get(
"/v1/jobs")` looks at the server without the product's clients.

A test that stops, kills, seals or wipes a server starts its own, or it would hurt its neighbours:

    from tests.servers import fixtures, nomad

    def test_the_pipeline_survives(tmp_path):
        program = fixtures.require("nomad")
        with nomad.nomad_agent(program, tmp_path / "nomad", persistent=True) as server:
            server.client.kill()   # the agent that runs tasks; they go on
            server.client.start()  # finds them again
            server.restart()       # both; the state lies in the folder

`consul.consul_agent(program, folder, persistent=True)` has `restart`, `kill`, `start`, `wipe`;
`vault.vault_server(program, folder, dev=False)` has `seal`, `unseal`, `restart`. All of them take
`acl`, `port` and more where it makes sense: see their docstrings. Logs lie in the folder.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.servers import consul, nomad, programs, vault
from tests.servers.cluster import PROGRAMS, Cluster
from tests.servers.cluster import cluster as start_cluster
from tests.servers.consul import ConsulServer
from tests.servers.nomad import NomadServer
from tests.servers.s3 import S3Server, s3_server
from tests.servers.vault import VaultServer


def require(name: str) -> Path:
    """The program of server `name`; skips the test without it, or fails it where `CI` is set."""
    program = programs.find(name)
    if program is not None:
        return program
    reason = f"{name} is neither on PATH nor built; run `make servers`"
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def set_environment(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> None:
    """Set every variable of `environment` for the rest of the test."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server for the whole session, empty at its start.

    Its folder, the log included, stays in pytest's temporary folder, where that of a failed
    session can be read afterwards.
    """
    with s3_server(require("versitygw"), tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_url(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty store on a real S3 server; the environment holds address and user."""
    set_environment(monkeypatch, s3.environment)
    return s3.url(uuid.uuid4().hex)


@pytest.fixture(scope="session")
def nomad_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NomadServer]:
    """A Nomad of one node in memory, without Consul, Vault and ACLs."""
    with nomad.nomad_agent(require("nomad"), tmp_path_factory.mktemp("nomad")) as server:
        yield server


@pytest.fixture
def nomad_env(nomad_server: NomadServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[NomadServer]:
    """The session's Nomad in the environment; jobs and tasks are gone afterwards."""
    set_environment(monkeypatch, nomad_server.environment)
    yield nomad_server
    nomad_server.forget()


@pytest.fixture(scope="session")
def consul_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    """A Consul server in memory, without ACLs."""
    with consul.consul_agent(require("consul"), tmp_path_factory.mktemp("consul")) as server:
        yield server


@pytest.fixture
def consul_env(
    consul_server: ConsulServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ConsulServer]:
    """The session's Consul in the environment; keys and services are gone afterwards."""
    set_environment(monkeypatch, consul_server.environment)
    yield consul_server
    consul_server.forget()


@pytest.fixture(scope="session")
def vault_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultServer]:
    """A Vault in memory, unsealed, with KV version 2 at `secret/`."""
    with vault.vault_server(require("vault"), tmp_path_factory.mktemp("vault")) as server:
        yield server


@pytest.fixture
def vault_env(vault_server: VaultServer, monkeypatch: pytest.MonkeyPatch) -> VaultServer:
    """The session's Vault in the environment, with its root token."""
    set_environment(monkeypatch, vault_server.environment)
    return vault_server


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Nomad, Consul, Vault and S3 in memory, wired to each other; without ACLs."""
    found = {name: require(name) for name in PROGRAMS}
    with start_cluster(found, tmp_path_factory.mktemp("cluster")) as here:
        yield here


@pytest.fixture
def cluster_env(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The session's cluster in the environment; jobs, keys and services are gone afterwards.

    The store is a new one, and so are with it the scope of heads and what is below it.
    """
    here = replace(cluster, store=cluster.s3.url(uuid.uuid4().hex))
    set_environment(monkeypatch, here.environment)
    yield here
    here.nomad.forget()
    here.consul.forget()
