"""A Vault server of a test: in memory and unsealed, or on disk, to be sealed and unsealed."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers import process
from tests.servers.api import Api, ApiError
from tests.servers.process import Agent

#: Where Nomad's workloads log in; also the default of Nomad's `jwt_auth_backend_path`.
NOMAD_LOGIN = "jwt-nomad"
#: The role of workloads that ask for none; Nomad's `create_from_role`.
NOMAD_ROLE = "nomad-workloads"
#: What Nomad writes into the tokens that it signs for Vault.
AUDIENCE = "vault.io"


@dataclass
class VaultServer:
    """A Vault server with KV version 2 at `secret/`; `environment` holds its root token.

    In memory (`dev`), a restart forgets everything. On disk, `seal()` and `unseal()` work, and
    `start()` after `stop()` or `kill()` unseals, unless told otherwise.
    """

    program: Path
    folder: Path
    port: int
    agent: Agent
    dev: bool
    token: str = ""
    unseal_key: str = ""

    @property
    def address(self) -> str:
        """Where the HTTP API answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that Vault's clients read: the address and the root token."""
        return {"VAULT_ADDR": self.address, "VAULT_TOKEN": self.token}

    @property
    def api(self) -> Api:
        """The HTTP API, with the root token."""
        return Api(self.address, {"X-Vault-Token": self.token} if self.token else {})

    @property
    def sealed(self) -> bool:
        """Whether it keeps its secrets to itself."""
        return bool(self.api.get("/v1/sys/seal-status")["sealed"])

    def start(self, unseal: bool = True) -> None:
        """Start it (again) at the same address; on disk, set it up the first time."""
        self.agent.start()
        if self.dev:
            return
        if not self.api.get("/v1/sys/seal-status")["initialized"]:
            self._set_up()
        elif unseal:
            self.unseal()

    def stop(self) -> None:
        """End it as an operator would."""
        self.agent.stop()

    def kill(self) -> None:
        """End it without warning."""
        self.agent.kill()

    def restart(self) -> None:
        """Stop, start and, on disk, unseal."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End it for good."""
        self.stop()

    def seal(self) -> None:
        """Make it refuse every request until `unseal()`; on disk only, a dev server's key is lost."""
        assert not self.dev, "give vault_server(…, dev=False) to seal it"
        self.api.put("/v1/sys/seal")

    def unseal(self) -> None:
        """Open it with its only key share and wait until it answers requests."""
        self.api.put("/v1/sys/unseal", {"key": self.unseal_key})
        process.until(lambda: self.api.get("/v1/sys/health")["initialized"], "vault unsealed")

    def write(self, path: str, **values: str) -> None:
        """Write a new version of the secret at `secret/<path>` (KV version 2)."""
        self.api.put(f"/v1/secret/data/{path}", {"data": values})

    def read(self, path: str) -> dict[str, str]:
        """The newest version of the secret at `secret/<path>` (KV version 2)."""
        return dict(self.api.get(f"/v1/secret/data/{path}")["data"]["data"])

    def holds(self, path: str) -> bool:
        """Whether there is a secret at `secret/<path>`."""
        return _answers(self.api, f"/v1/secret/data/{path}")

    def policy(self, name: str, rules: str) -> None:
        """Create or replace the policy `name` from rules in HCL."""
        self.api.put(f"/v1/sys/policies/acl/{name}", {"policy": rules})

    def make_token(self, *policies: str, ttl: str = "1h", **more: object) -> str:
        """A new token with the named policies; `more` goes to Vault as it is."""
        body = {"policies": policies, "ttl": ttl, "no_default_policy": False} | more
        return str(self.api.post("/v1/auth/token/create", body)["auth"]["client_token"])

    def make_approle(self, name: str, *policies: str, **more: object) -> tuple[str, str]:
        """The role id and a secret id of a new AppRole with the named policies."""
        self.enable_login("approle")
        role = f"/v1/auth/approle/role/{name}"
        self.api.post(role, {"token_policies": policies} | more)
        role_id = self.api.get(f"{role}/role-id")["data"]["role_id"]
        return str(role_id), str(self.api.post(f"{role}/secret-id")["data"]["secret_id"])

    def enable_login(self, kind: str, path: str | None = None) -> None:
        """Have the login method `kind` at `auth/<path>`; nothing where it is there."""
        path = path or kind
        if f"{path}/" not in self.api.get("/v1/sys/auth")["data"]:
            self.api.post(f"/v1/sys/auth/{path}", {"type": kind})

    def trust_nomad(self, nomad: str, ca_file: Path | None = None) -> None:
        """Let workloads of the Nomad at address `nomad` log in with their identity."""
        self.enable_login("jwt", NOMAD_LOGIN)
        authority = {"jwks_ca_pem": ca_file.read_text()} if ca_file else {}
        settings = {
            "jwks_url": f"{nomad}/.well-known/jwks.json",
            "jwt_supported_algs": ["RS256", "EdDSA"],
            "default_role": NOMAD_ROLE,
        }
        self.api.post(f"/v1/auth/{NOMAD_LOGIN}/config", settings | authority)

    def write_workload_role(self, role: str, settings: Mapping[str, Any]) -> None:
        """Create the role that workloads of Nomad ask for by name. Call `trust_nomad` first."""
        self.api.post(f"/v1/auth/{NOMAD_LOGIN}/role/{role}", dict(settings))

    def make_workload_role(self, *policies: str, role: str = NOMAD_ROLE) -> None:
        """The same with usual settings: any workload of Nomad gets `policies`.

        The default role is that of workloads that ask for none.
        """
        self.write_workload_role(role, _workload_role(policies))

    def _set_up(self) -> None:
        made = self.api.put("/v1/sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self.unseal_key, self.token = made["keys"][0], made["root_token"]
        _keep(self.folder, self.unseal_key, self.token)
        self.unseal()
        self.api.post("/v1/sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        # A new mount refuses requests for a moment, while it becomes version 2.
        process.until(lambda: _answers(self.api, "/v1/secret/config"), "secret/ ready")


@contextlib.contextmanager
def vault_server(
    program: Path, folder: Path, *, dev: bool = True, port: int | None = None
) -> Iterator[VaultServer]:
    """Run a Vault server while the block lasts.

    Args:
        program: the `vault` to run.
        folder: takes configuration, log and state; made where it is missing.
        dev: in memory; else on disk with one key share, kept in `folder` and used to unseal.
        port: of the API; a free one by default.

    Raises:
        ServerFailedError: it did not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    make = _make_dev if dev else _make_on_disk
    server = process.on_free_ports(lambda: make(program, folder, port or process.free_port()))
    try:
        yield server
    finally:
        server.close()


def _make_dev(program: Path, folder: Path, port: int) -> VaultServer:
    token = secrets.token_hex(16)
    agent = Agent(
        [program, "server", "-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{port}"],
        log=folder / "vault.log",
        ready=lambda: _answers(server.api, "/v1/secret/config"),
        env={"VAULT_DEV_ROOT_TOKEN_ID": token},
        port=port,
    )
    server = VaultServer(program, folder, port, agent, dev=True, token=token)
    return server


def _make_on_disk(program: Path, folder: Path, port: int) -> VaultServer:
    (folder / "data").mkdir(exist_ok=True)
    settings = {
        "storage": {"file": {"path": str(folder / "data")}},
        "listener": {"tcp": {"address": f"127.0.0.1:{port}", "tls_disable": True}},
        "api_addr": f"http://127.0.0.1:{port}",
        "disable_mlock": True,
        "log_level": "info",
    }
    (folder / "vault.json").write_text(json.dumps(settings))
    agent = Agent(
        [program, "server", "-config", folder / "vault.json"],
        log=folder / "vault.log",
        ready=lambda: "sealed" in server.api.get("/v1/sys/seal-status"),
        port=port,
    )
    server = VaultServer(program, folder, port, agent, dev=False)
    server.unseal_key, server.token = _kept(folder)
    return server


def _keep(folder: Path, unseal_key: str, token: str) -> None:
    file = folder / "keys.json"
    file.touch(0o600)
    file.write_text(json.dumps([unseal_key, token]))


def _kept(folder: Path) -> tuple[str, str]:
    file = folder / "keys.json"
    unseal_key, token = json.loads(file.read_text()) if file.exists() else ("", "")
    return unseal_key, token


def _answers(api: Api, path: str) -> bool:
    try:
        api.get(path)
    except ApiError:
        return False
    return True


def _workload_role(policies: tuple[str, ...]) -> dict[str, Any]:
    names = ("nomad_namespace", "nomad_job_id", "nomad_task")
    return {
        "role_type": "jwt",
        "bound_audiences": [AUDIENCE],
        # One entity for each job, not for each allocation.
        "user_claim": "/nomad_job_id",
        "user_claim_json_pointer": True,
        "claim_mappings": {name: name for name in names},
        "token_type": "service",
        "token_policies": list(policies),
        # Renewed by Nomad for as long as the task runs.
        "token_period": "30m",
        "token_explicit_max_ttl": 0,
    }
