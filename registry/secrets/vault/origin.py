"""A secret at a path of a Vault server."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from registry.errors import ConfigError
from registry.secrets.protocol import Fetched
from registry.secrets.vault.login import choose_login
from registry.secrets.vault.server import Vault
from registry.settings import Settings


class VaultOrigin:
    """A path, and the server that it is on, opened at its first use."""

    def __init__(self, path: str, connect: Callable[[], Vault]) -> None:
        self._path = path
        self._connect = connect
        self._vault: Vault | None = None

    @property
    def name(self) -> str:
        return f"vault:{self._path}"

    def fetch(self) -> Fetched:
        if self._vault is None:
            self._vault = self._connect()
        return self._vault.read(self._path)


def connect_vault(settings: Settings, env: Mapping[str, str] | None = None) -> Vault:
    """The server that `VAULT_ADDR` names, with the login that `settings` and `env` offer.

    Raises:
        ConfigError: no server is named, or there is no way to log in.
    """
    source = os.environ if env is None else env
    address = source.get("VAULT_ADDR", "").rstrip("/")
    if not address:
        raise ConfigError(
            "a secret is in Vault, but no Vault is named",
            "VAULT_ADDR is not set",
            "Set it to the server's address, such as https://vault:8200.",
        )
    return Vault(
        address,
        choose_login(settings, source),
        namespace=source.get("VAULT_NAMESPACE") or None,
        authority=source.get("VAULT_CACERT") or source.get("VAULT_CAPATH") or None,
    )
