"""The ways to log in to Vault. Which one is used follows from what the environment offers.

1. a token in a file, which Nomad or Vault's agent renews: `PENSTOCK_VAULT_TOKEN_FILE`, or
   `vault_token` in the folder that Nomad gives a task;
2. `VAULT_TOKEN`;
3. the identity that Nomad signs for a task (a JWT in a file), with `PENSTOCK_VAULT_JWT_ROLE`;
4. an AppRole: `PENSTOCK_VAULT_ROLE_ID`, and a file with the secret id.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from registry.errors import ConfigError
from registry.redaction import remember
from registry.settings import Settings

#: Names that Nomad gives the files of a task: its token, and its identity for Vault.
NOMAD_TOKEN, NOMAD_JWT = "vault_token", "nomad_vault_default.jwt"


@dataclass(frozen=True)
class Grant:
    """A token. `lease_s` is None where somebody else takes care that it stays valid."""

    token: str = field(repr=False)
    lease_s: float | None = None
    renewable: bool = False


class Post(Protocol):
    """Sends `data` to a path of Vault, with `token` if one is given; returns the document."""

    def __call__(
        self, path: str, data: Mapping[str, str], token: str = ""
    ) -> Mapping[str, Any]: ...


class Login(Protocol):
    """One way to come by a token."""

    @property
    def name(self) -> str:
        """What it is and where it comes from, for people; never a token."""

    def log_in(self, post: Post) -> Grant:
        """A token. Raises ConfigError where what it needs is missing, and what `post` raises."""


@dataclass(frozen=True)
class TokenVariable:
    """The token in `VAULT_TOKEN`, read at each use."""

    name: str = "the token in VAULT_TOKEN"

    def log_in(self, post: Post) -> Grant:  # noqa: ARG002 (the protocol's signature)
        token = os.environ.get("VAULT_TOKEN", "").strip()
        if not token:
            raise ConfigError("Vault cannot be asked", "VAULT_TOKEN is not set any more")
        return _lasting(token)


@dataclass(frozen=True)
class TokenFile:
    """A token in a file, read at each use: whoever writes the file renews it."""

    path: Path

    @property
    def name(self) -> str:
        return f"the token in {self.path}"

    def log_in(self, post: Post) -> Grant:  # noqa: ARG002 (the protocol's signature)
        return _lasting(_text(self.path, "token"))


@dataclass(frozen=True)
class AppRole:
    """A role's id, and its secret id in a file; wrapped, the file holds a token to unwrap once."""

    role_id: str
    secret_id: Path | None
    wrapped: bool
    mount: str

    @property
    def name(self) -> str:
        return f"the AppRole at auth/{self.mount}"

    def log_in(self, post: Post) -> Grant:
        data = {"role_id": self.role_id}
        if self.secret_id is not None:
            data["secret_id"] = self._secret_id(post)
        return _leased(post(f"auth/{self.mount}/login", data))

    def _secret_id(self, post: Post) -> str:
        assert self.secret_id is not None
        text = _text(self.secret_id, "secret id")
        if not self.wrapped:
            return text
        known = _unwrapped.get(text)
        if known is None:
            known = str(post("sys/wrapping/unwrap", {}, token=text)["data"]["secret_id"])
            _unwrapped[text] = known
            remember([known])
        return known


#: A wrapping token can be spent once; what it gave is needed again when a token has run out.
_unwrapped: dict[str, str] = {}


@dataclass(frozen=True)
class Identity:
    """A JWT in a file, signed by Nomad for the task, or by another issuer that Vault trusts."""

    role: str
    jwt: Path
    mount: str

    @property
    def name(self) -> str:
        return f"the role {self.role} at auth/{self.mount}"

    def log_in(self, post: Post) -> Grant:
        data = {"role": self.role, "jwt": _text(self.jwt, "identity")}
        return _leased(post(f"auth/{self.mount}/login", data))


def choose_login(settings: Settings, env: Mapping[str, str]) -> Login:
    """The first way of the list above that `settings` and `env` offer.

    Raises:
        ConfigError: they offer none.
    """
    folder = Path(env.get("NOMAD_SECRETS_DIR") or "/nonexistent")
    given: Path | None = settings.vault_token_file
    if given is not None or (folder / NOMAD_TOKEN).is_file():
        return TokenFile(given or folder / NOMAD_TOKEN)
    if env.get("VAULT_TOKEN"):
        return TokenVariable()
    if settings.vault_jwt_role:
        jwt = settings.vault_jwt_file or folder / NOMAD_JWT
        return Identity(settings.vault_jwt_role, jwt, settings.vault_jwt_mount)
    if settings.vault_role_id:
        wrapped = settings.vault_secret_id_wrapped
        mount = settings.vault_approle_mount
        return AppRole(settings.vault_role_id, settings.vault_secret_id_file, wrapped, mount)
    raise ConfigError(
        "Vault cannot be asked",
        "there is no way to log in",
        "Set VAULT_TOKEN, PENSTOCK_VAULT_TOKEN_FILE, PENSTOCK_VAULT_JWT_ROLE or "
        "PENSTOCK_VAULT_ROLE_ID (docs/how-to/secrets.md).",
    )


def _lasting(token: str) -> Grant:
    remember([token])
    return Grant(token)


def _leased(answer: Mapping[str, Any]) -> Grant:
    auth = answer["auth"]
    remember([auth["client_token"]])
    # No lease means that the token never ends.
    lease = float(auth["lease_duration"]) or None
    return Grant(auth["client_token"], lease, bool(auth.get("renewable")))


def _text(path: Path, what: str) -> str:
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ConfigError(
            f"the {what} for Vault cannot be read from {path}",
            reason,
            "Name the file that holds it, readable for the user that penstock runs as.",
        ) from None
    if not text:
        raise ConfigError(f"the {what} for Vault cannot be read from {path}", "the file is empty")
    remember([text])
    return text
