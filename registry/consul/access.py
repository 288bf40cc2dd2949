"""How to reach Consul: the variables of Consul's own command. `CONSUL_HTTP_ADDR` turns it on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from registry.errors import ConfigError

_TRUE = ("1", "t", "true")


@dataclass(frozen=True)
class Access:
    """Where Consul is, and which certificates, namespace and file with a token to use."""

    scheme: str
    host: str
    port: int
    verify: bool | str
    certificate: tuple[str, str] | None
    namespace: str
    token_file: str

    @classmethod
    def from_environment(cls, env: Mapping[str, str] | None = None) -> Access:
        """Read Consul's own variables.

        Raises:
            ConfigError: the address is not one, or a certificate comes without its key.
        """
        env = os.environ if env is None else env
        scheme, host, port = _address(env.get("CONSUL_HTTP_ADDR", ""), _is_true(env, "SSL"))
        pair = env.get("CONSUL_CLIENT_CERT", ""), env.get("CONSUL_CLIENT_KEY", "")
        if bool(pair[0]) != bool(pair[1]):
            raise ConfigError("CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY go together")
        verified = _is_true(env, "SSL_VERIFY", "true")
        return cls(
            scheme,
            host,
            port,
            verified and (env.get("CONSUL_CACERT") or env.get("CONSUL_CAPATH") or True),
            pair if pair[0] else None,
            env.get("CONSUL_NAMESPACE", ""),
            env.get("CONSUL_HTTP_TOKEN_FILE", ""),
        )

    @property
    def url(self) -> str:
        """The address as a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def is_named(env: Mapping[str, str] | None = None) -> bool:
    """Whether Consul is to be used: `CONSUL_HTTP_ADDR` is set."""
    return bool((os.environ if env is None else env).get("CONSUL_HTTP_ADDR"))


def _is_true(env: Mapping[str, str], name: str, default: str = "false") -> bool:
    return (env.get(f"CONSUL_HTTP_{name}") or default).lower() in _TRUE


def _address(text: str, tls: bool) -> tuple[str, str, int]:
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(
            f"CONSUL_HTTP_ADDR has the value {text!r}",
            "it names no host",
            "Write http://127.0.0.1:8500, or https://host:8501.",
        )
    # As Consul's command does: TLS that was asked for is never left out.
    scheme = "https" if tls else parts.scheme
    return scheme, host, port or (443 if scheme == "https" else 80)
