"""What a Nomad agent of a test is configured with, as the JSON that it reads."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers import process
from tests.servers.consul import ConsulServer
from tests.servers.vault import AUDIENCE, NOMAD_LOGIN, NOMAD_ROLE, VaultServer

#: Discard; nothing listens there. An agent without Consul must not find that of somebody else.
NOWHERE = "127.0.0.1:9"
#: Clouds, whose metadata services an agent outside of them would wait for.
CLOUDS = "env_aws,env_gce,env_azure,env_digitalocean"


@dataclass(frozen=True)
class Ports:
    """The loopback ports of one agent."""

    http: int
    rpc: int
    serf: int

    @classmethod
    def free(cls, file: Path, http: int | None = None) -> Ports:
        """Free ports, those of `file` where they are; `http` as given where it is."""
        ports = process.free_ports(file, ["http", "rpc", "serf"])
        return cls(**ports | ({"http": http} if http else {}))


@dataclass(frozen=True)
class Wiring:
    """What an agent is connected to and how it is protected."""

    consul: ConsulServer | None = None
    #: The agent's own token of Consul, where that has ACLs; the management token by default.
    consul_token: str | None = None
    vault: VaultServer | None = None
    acl: bool = False
    #: The folder of keys and certificates, see `make_certificates`.
    tls: Path | None = None


def settings(folder: Path, ports: Ports, wiring: Wiring) -> dict[str, Any]:
    """What servers and clients have in common."""
    found = {
        "bind_addr": "127.0.0.1",
        "ports": {"http": ports.http, "rpc": ports.rpc, "serf": ports.serf},
        "advertise": {
            "http": f"127.0.0.1:{ports.http}",
            "rpc": f"127.0.0.1:{ports.rpc}",
            "serf": f"127.0.0.1:{ports.serf}",
        },
        "log_level": "INFO",
        "disable_update_check": True,
        "disable_anonymous_signature": True,
        "consul": _consul(wiring),
        "vault": _vault(wiring),
        "acl": {"enabled": wiring.acl},
        "plugin": {"raw_exec": {"config": {"enabled": True}}},
    }
    return found | ({"tls": _tls(wiring.tls)} if wiring.tls else {})


def server(extra: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a lone server; `extra` is laid over it."""
    return {"server": {"enabled": True, "bootstrap_expect": 1, "raft_multiplier": 1} | dict(extra)}


def client(folder: Path, servers: list[str], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an agent that runs tasks; `extra` is laid over it."""
    first = (
        process.free_port() + 10_000
    )  # Nomad's own range, in a part that other agents leave alone
    return {
        "client": {
            "enabled": True,
            "servers": servers,
            "network_interface": "lo",
            "alloc_dir": str(folder / "alloc"),
            "alloc_mounts_dir": str(folder / "mounts"),
            "state_dir": str(folder / "client"),
            "min_dynamic_port": first,
            "max_dynamic_port": first + 200,
            "options": {"fingerprint.denylist": CLOUDS, "test.tighten_network_timeouts": "true"},
        }
        | dict(extra)
    }


def _consul(wiring: Wiring) -> dict[str, Any]:
    if wiring.consul is None:
        unused = ("auto_advertise", "server_auto_join", "client_auto_join")
        return {"address": NOWHERE} | dict.fromkeys(unused, False)
    address = wiring.consul.address.removeprefix("http://")
    if not wiring.consul.token:
        return {"address": address}
    identity = {"aud": ["consul.io"], "ttl": "1h"}
    return {
        "address": address,
        "token": wiring.consul_token or wiring.consul.token,
        "service_identity": identity,
        "task_identity": identity,
    }


def _vault(wiring: Wiring) -> dict[str, Any]:
    if wiring.vault is None:
        return {"enabled": False}
    return {
        "enabled": True,
        "address": wiring.vault.address,
        "default_identity": {"aud": [AUDIENCE], "ttl": "1h"},
        "jwt_auth_backend_path": NOMAD_LOGIN,
        "create_from_role": NOMAD_ROLE,
    }


def _tls(folder: Path) -> dict[str, Any]:
    return {
        "http": True,
        "rpc": True,
        "ca_file": str(folder / "nomad-agent-ca.pem"),
        "cert_file": str(folder / "global-server-nomad.pem"),
        "key_file": str(folder / "global-server-nomad-key.pem"),
        "verify_server_hostname": True,
        "verify_https_client": False,  # callers show a token, not a certificate
    }


def make_certificates(program: Path, folder: Path) -> Path:
    """Make a certificate authority and a server's certificate in `folder`; return the authority's.

    The certificate is for localhost, 127.0.0.1 and server.global.nomad.
    """
    authority = folder / "nomad-agent-ca.pem"
    if not authority.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for words in (["ca", "create"], ["cert", "create", "-server", "-region", "global"]):
            subprocess.run(
                [program, "tls", *words], cwd=folder, check=True, capture_output=True, timeout=60
            )
    return authority
