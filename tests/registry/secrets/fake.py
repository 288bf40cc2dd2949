"""A stand-in for Vault's HTTP API, for what a real server does not do when it is asked to.

The real one is in `tests/integration/test_secrets.py`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.proxies import Quiet, serving

SECRET = {"access_key_id": "somebody", "secret_access_key": "never-to-be-seen-0123"}


@dataclass
class FakeVault:
    """What it holds, who may read, how it fails; and what it was asked."""

    address: str = ""
    secrets: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"penstock/store": dict(SECRET)}
    )
    tokens: set[str] = field(default_factory=lambda: {"root"})
    #: Status and errors of every answer, where it is in trouble.
    trouble: tuple[int, list[str]] | None = None
    sealed: bool = False
    lease: int = 3600
    #: Of a renewal; by default as long as the first.
    renewed_lease: int | None = None
    #: The secret is leased for so long, as those of engines that make credentials are.
    secret_lease: int = 0
    logins: list[dict[str, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def count(self, path: str) -> int:
        """How often `path` was asked for."""
        return sum(asked.endswith(path) for asked in self.asked)


@contextlib.contextmanager
def fake_vault(**changes: Any) -> Iterator[FakeVault]:
    """Serve a `FakeVault` while the block lasts."""
    vault = FakeVault(**changes)

    class Handler(Quiet):
        def do_any(self) -> None:
            body = json.loads(self.body() or b"{}")
            vault.asked.append(f"{self.command} {self.path}")
            status, document = _answer(vault, self.path, self.headers, body)
            self.reply(status, json.dumps(document).encode(), Content_Type="application/json")

        do_GET = do_POST = do_PUT = do_any  # noqa: N815 (of the base class)

    with serving(Handler) as address:
        vault.address = address
        yield vault


def _answer(vault: FakeVault, path: str, headers: Any, body: Any) -> tuple[int, dict[str, Any]]:
    if vault.trouble is not None:
        return vault.trouble[0], {"errors": vault.trouble[1]}
    if path.endswith("/login"):
        return _login(vault, body)
    if path == "/v1/sys/seal-status":
        return 200, {"sealed": vault.sealed, "initialized": True}
    token = headers.get("X-Vault-Token")
    if path == "/v1/sys/wrapping/unwrap":
        return 200, {"data": {"secret_id": f"unwrapped-from-{token}"}}
    if token not in vault.tokens:
        return 403, {"errors": ["permission denied"]}
    if path == "/v1/auth/token/renew-self":
        lease = vault.lease if vault.renewed_lease is None else vault.renewed_lease
        return 200, {"auth": {"client_token": token, "lease_duration": lease, "renewable": True}}
    if path == "/v1/auth/token/lookup-self":
        return 200, {"data": {"policies": ["default"], "identity_policies": None}}
    return _read(vault, path)


def _login(vault: FakeVault, body: dict[str, str]) -> tuple[int, dict[str, Any]]:
    vault.logins.append(body)
    if body.get("secret_id") == "wrong" or body.get("jwt") == "wrong":
        return 400, {"errors": [f"invalid role or secret ID {body.get('secret_id')}"]}
    token = f"token-number-{len(vault.logins)}"
    vault.tokens = {token}
    return 200, {"auth": {"client_token": token, "lease_duration": vault.lease, "renewable": True}}


def _read(vault: FakeVault, path: str) -> tuple[int, dict[str, Any]]:
    if path.startswith("/v1/sys/internal/ui/mounts/"):
        versioned = {"path": "secret/", "type": "kv", "options": {"version": "2"}}
        other = {"path": "aws/", "type": "aws", "options": None}
        return 200, {"data": versioned if "/secret/" in path else other}
    found = vault.secrets.get(path.removeprefix("/v1/secret/data/"))
    if path.startswith("/v1/aws/"):
        lease = {"lease_id": "aws/1", "lease_duration": vault.secret_lease}
        return 200, {"data": {"access_key": "a", "secret_key": "b", "security_token": None}} | lease
    if found is None:
        return 404, {"errors": []}
    return 200, {"data": {"data": found}, "lease_id": "", "lease_duration": 0}
