"""A Consul agent of a test: one server on free loopback ports, with or without ACLs."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers import process
from tests.servers.api import Api, ApiError
from tests.servers.process import Agent

#: Where Nomad's workloads log in: the default of Nomad's `service_auth_method`.
NOMAD_LOGIN = "nomad-workloads"


@dataclass
class ConsulServer:
    """A Consul server; `environment` is what a client needs to reach it.

    In memory, a restart forgets everything; `persistent`, it keeps what `folder` holds.
    """

    program: Path
    folder: Path
    port: int
    agent: Agent
    token: str | None = None
    persistent: bool = False

    @property
    def address(self) -> str:
        """Where the HTTP API answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that Consul's clients read: the address, and the token where there are ACLs."""
        token = {"CONSUL_HTTP_TOKEN": self.token} if self.token else {}
        return {"CONSUL_HTTP_ADDR": self.address} | token

    @property
    def api(self) -> Api:
        """The HTTP API, with the management token."""
        return Api(self.address, {"X-Consul-Token": self.token} if self.token else {})

    def start(self) -> None:
        """Start it again at the same address."""
        self.agent.start()

    def stop(self) -> None:
        """End it as an operator would."""
        self.agent.stop()

    def kill(self) -> None:
        """End it without warning."""
        self.agent.kill()

    def restart(self) -> None:
        """Stop and start; in memory, that forgets everything."""
        self.stop()
        self.start()

    def wipe(self) -> None:
        """Lose every key, service and token but the management token, and start afresh."""
        self.stop()
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        self.start()

    def close(self) -> None:
        """End it for good."""
        self.stop()

    def policy(self, name: str, rules: str) -> None:
        """Create the ACL policy `name` from rules in HCL."""
        self.api.put("/v1/acl/policy", {"Name": name, "Rules": rules})

    def make_token(self, *policies: str) -> str:
        """A new token that may do what the named policies allow."""
        names = [{"Name": name} for name in policies]
        return str(self.api.put("/v1/acl/token", {"Policies": names})["SecretID"])

    def trust_nomad(self, nomad: str, *, tasks: Sequence[str], ca_file: Path | None = None) -> None:
        """Let the Nomad at address `nomad` act for its workloads, where there are ACLs.

        A service registers itself under its own name; a task gets a token with the policies `tasks`.
        This is what `nomad setup consul` does.
        """
        authority = {"JWKSCACert": ca_file.read_text()} if ca_file else {}
        claims = ("nomad_namespace", "nomad_job_id", "nomad_task", "nomad_service")
        method = {
            "Name": NOMAD_LOGIN,
            "Type": "jwt",
            "Config": {
                "JWKSURL": f"{nomad}/.well-known/jwks.json",
                "JWTSupportedAlgs": ["RS256"],
                "BoundAudiences": ["consul.io"],
                "ClaimMappings": dict(zip(claims, claims, strict=True)),
            }
            | authority,
        }
        self.api.put("/v1/acl/auth-method", method)
        policies = [{"Name": name} for name in tasks]
        self.api.put("/v1/acl/role", {"Name": "nomad-tasks-default", "Policies": policies})
        self._bind("service", "${value.nomad_service}", '"nomad_service" in value')
        self._bind("role", "nomad-tasks-${value.nomad_namespace}", '"nomad_service" not in value')

    def _bind(self, kind: str, name: str, selector: str) -> None:
        rule = {"BindType": kind, "BindName": name, "Selector": selector}
        self.api.put("/v1/acl/binding-rule", {"AuthMethod": NOMAD_LOGIN} | rule)

    def forget(self) -> None:
        """Delete every key and every service of tasks, so that a next test finds none."""
        self.api.delete("/v1/kv/?recurse")
        for service in self.api.get("/v1/agent/services"):
            if not service.startswith("_nomad-"):  # the agents' own
                self.api.put(f"/v1/agent/service/deregister/{service}")


@contextlib.contextmanager
def consul_agent(
    program: Path,
    folder: Path,
    *,
    acl: bool = False,
    persistent: bool = False,
    port: int | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Iterator[ConsulServer]:
    """Run a Consul server while the block lasts.

    Args:
        program: the `consul` to run.
        folder: takes configuration, log and state; made where it is missing.
        acl: deny what no token allows; the management token is in `.environment`.
        persistent: keep the state in `folder` across restarts.
        port: of the HTTP API; a free one by default.
        extra: laid over the configuration, key by key.

    Raises:
        ServerFailedError: it did not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    token = process.kept_token(folder) if acl else None
    server = process.on_free_ports(
        lambda: _make(program, folder, token, persistent, port, extra or {})
    )
    try:
        yield server
    finally:
        server.close()


def _make(
    program: Path,
    folder: Path,
    token: str | None,
    persistent: bool,
    port: int | None,
    extra: Mapping[str, Any],
) -> ConsulServer:
    port = port or process.free_port()
    config = folder / "consul.json"
    config.touch(0o600)
    config.write_text(json.dumps(_settings(folder, port, token, persistent) | dict(extra)))
    mode = [] if persistent else ["-dev"]
    agent = Agent(
        [program, "agent", *mode, "-config-file", config],
        log=folder / "consul.log",
        ready=lambda: _is_ready(server),
        port=port,
    )
    server = ConsulServer(program, folder, port, agent, token, persistent)
    return server


def _settings(folder: Path, port: int, token: str | None, persistent: bool) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "server": True,
        "bootstrap_expect": 1,
        "data_dir": str(folder / "data"),
        "bind_addr": "127.0.0.1",
        "client_addr": "127.0.0.1",
        "ports": _ports(folder, port),
        "disable_update_check": True,
        "log_level": "info",
        # A lone server that left would not elect itself again.
        "leave_on_terminate": False,
        "performance": {"raft_multiplier": 1},
        # Shorter than Consul's own 10 s, so that a test of a session that dies takes seconds.
        "session_ttl_min": "1s",
    }
    if not persistent:
        del settings["bootstrap_expect"], settings["data_dir"]
    if token:
        settings["acl"] = {
            "enabled": True,
            "default_policy": "deny",
            "tokens": {"initial_management": token, "agent": token},
        }
    return settings


def _ports(folder: Path, http: int) -> dict[str, int]:
    off = dict.fromkeys(("dns", "grpc", "grpc_tls", "serf_wan"), -1)
    own = process.free_ports(folder / "ports.json", ["server", "serf_lan"])
    return off | own | {"http": http}


def _is_ready(server: ConsulServer) -> bool:
    """Whether it leads itself, knows its token and can be asked for a key."""
    if not server.api.get("/v1/status/leader"):
        return False
    try:
        server.api.get("/v1/kv/ready?consistent")
    except ApiError as error:
        return error.status == 404
    return True
