"""The HTTP sessions to Nomad: certificates verified, connections few, waits that can be broken off.

The environment variables are those of Nomad's own command line. Nomad closes out a client with more
than 100 connections (`http_max_conns_per_client`), so threads share a few.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import warnings
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import InsecureRequestWarning

from registry.errors import ConfigError
from registry.logs import get_logger

#: Connections that threads share for short requests, and those for waiting (one for each parent).
SHORT, WAITING = 8, 64


@dataclass(frozen=True)
class Access:
    """Where Nomad is, and how to be let in. The token appears in no text."""

    address: str
    token: str | None = None
    namespace: str = "default"
    region: str | None = None
    ca: str | None = None
    certificate: tuple[str, str] | None = None
    server_name: str | None = None
    verify: bool = True

    @classmethod
    def of(cls, env: Mapping[str, str] = os.environ) -> Access:
        """What Nomad's own variables say.

        Raises:
            ConfigError: the address cannot be used, or a certificate is not there.
        """
        address = env.get("NOMAD_ADDR", "").rstrip("/")
        if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
            raise ConfigError(
                f"NOMAD_ADDR has the value {address!r}",
                "it must be http:// or https://, a host and a port",
                "For example: export NOMAD_ADDR=https://nomad.example.com:4646",
            )
        return cls(
            address,
            env.get("NOMAD_TOKEN") or None,
            env.get("NOMAD_NAMESPACE") or "default",
            env.get("NOMAD_REGION") or None,
            _file(env, "NOMAD_CACERT") or _file(env, "NOMAD_CAPATH"),
            _certificate(env),
            env.get("NOMAD_TLS_SERVER_NAME") or None,
            env.get("NOMAD_SKIP_VERIFY", "").lower() not in ("1", "t", "true"),
        )

    def __repr__(self) -> str:
        return f"Access({self.address})"


def _file(env: Mapping[str, str], name: str) -> str | None:
    path = env.get(name) or None
    if path is not None and not Path(path).exists():
        raise ConfigError(f"{name} names {path}", "there is no such file", f"Correct {name}.")
    return path


def _certificate(env: Mapping[str, str]) -> tuple[str, str] | None:
    certificate, key = _file(env, "NOMAD_CLIENT_CERT"), _file(env, "NOMAD_CLIENT_KEY")
    if (certificate is None) != (key is None):
        raise ConfigError(
            "only one of NOMAD_CLIENT_CERT and NOMAD_CLIENT_KEY is set",
            "a client certificate needs its key",
            "Set both, or neither.",
        )
    return (certificate, key) if certificate and key else None


class Line:
    """A session whose requests can be broken off by `cut`, from another thread."""

    def __init__(self, access: Access, connections: int) -> None:
        self.session = requests.Session()
        self.session.trust_env = False  # a proxy or netrc of this machine is not Nomad's business
        if access.address.startswith("https:") and not access.verify:
            _warn_unverified()
        self._sockets = _Sockets()
        self.session.mount(access.address, _Adapter(self._sockets, access.server_name, connections))

    def cut(self) -> None:
        """End the requests under way with an error, and let go of the connections."""
        self._sockets.cut()
        self.session.close()


class _Sockets:
    """The sockets of a session. Once cut, every one that it has or opens is useless."""

    def __init__(self) -> None:
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._cut = False

    def add(self, opened: socket.socket) -> None:
        """Take note of a socket."""
        with self._lock:
            self._open.add(opened)
            if self._cut:
                _shut(opened)

    def cut(self) -> None:
        """Make every request under way, or yet to come, fail at once."""
        with self._lock:
            self._cut = True
            for opened in list(self._open):
                _shut(opened)


def _shut(opened: socket.socket) -> None:
    with contextlib.suppress(OSError):
        opened.shutdown(socket.SHUT_RDWR)


def _warn_unverified() -> None:
    warnings.simplefilter("ignore", InsecureRequestWarning)  # said once, below, and not per request
    get_logger(__name__).warning(
        "NOMAD_SKIP_VERIFY is set: whoever answers at NOMAD_ADDR is taken for Nomad, "
        "and is shown the token"
    )


class _Adapter(HTTPAdapter):
    """Remembers the sockets that it opens; checks certificates for a name of their own."""

    def __init__(self, sockets: _Sockets, server_name: str | None, connections: int) -> None:
        self._opened = sockets
        self._server_name = server_name
        super().__init__(pool_connections=1, pool_maxsize=connections, pool_block=True)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        if self._server_name:
            kwargs |= {"server_hostname": self._server_name, "assert_hostname": self._server_name}
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools(self._opened)


def _pools(opened: _Sockets) -> dict[str, Any]:
    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            opened.add(self.sock)

    class Secured(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            opened.add(self.sock)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecuredPool(HTTPSConnectionPool):
        ConnectionCls = Secured

    return {"http": PlainPool, "https": SecuredPool}
