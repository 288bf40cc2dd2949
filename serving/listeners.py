"""Where clients come in: one socket for each gateway, all on one port.

The kernel gives each new connection to one of the sockets, by a hash of its addresses, so that the
gateways share the connections evenly. The supervisor holds the sockets as well: what waits in the
queue of a gateway that died is still there for the one that takes its place.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from registry.errors import ConfigError
from serving.options import Options

BACKLOG = 1024


@dataclass(frozen=True)
class Listeners:
    """The sockets of a service: one for each gateway that speaks HTTP, and what keeps gRPC's port."""

    http: Sequence[socket.socket]
    grpc: Sequence[socket.socket] = ()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port for HTTP."""
        host, port = self.http[0].getsockname()[:2]
        return host, port

    @property
    def grpc_address(self) -> tuple[str, int] | None:
        """Host and port for gRPC, if it is spoken."""
        if not self.grpc:
            return None
        host, port = self.grpc[0].getsockname()[:2]
        return host, port


def open_listeners(options: Options) -> Listeners:
    """Open what `options` ask for. Raises Refused (see `Options.check_bind`), ConfigError."""
    options.check_bind()
    http = listen(options.host, options.port, options.gateways)
    if options.grpc_port is None:
        return Listeners(http)
    try:
        held = reserve(options.host, options.grpc_port, "PENSTOCK_SERVING_GRPC_PORT")
    except ConfigError:
        close_all(http)
        raise
    return Listeners(http, [held])


def listen(host: str, port: int, count: int = 1, variable: str = "") -> list[socket.socket]:
    """`count` listening sockets on one port of `host`; 0 is any free port.

    Raises:
        ConfigError: the address cannot be bound; names the setting `variable`.
    """
    return _open(host, port, count, variable or "PENSTOCK_SERVING_PORT", listening=True)


def reserve(host: str, port: int, variable: str) -> socket.socket:
    """A socket that keeps a port for servers that bind it themselves, with SO_REUSEPORT.

    It does not listen, so the kernel gives it no connection. Raises ConfigError as `listen` does.
    """
    (held,) = _open(host, port, 1, variable, listening=False)
    return held


def close_all(sockets: Sequence[socket.socket]) -> None:
    """Close what was opened here."""
    for each in sockets:
        each.close()


def _open(
    host: str, port: int, count: int, variable: str, *, listening: bool
) -> list[socket.socket]:
    shared = count > 1 or not listening
    with contextlib.ExitStack() as stack:
        sockets: list[socket.socket] = []
        try:
            if shared and port:
                # Sharing is for our own gateways: a second service on this port must fail.
                _bound(host, port, shared=False, listening=True).close()
            for _ in range(count):
                made = _bound(host, port, shared=shared, listening=listening)
                sockets.append(stack.enter_context(made))
                port = made.getsockname()[1]
        except OSError as error:
            raise ConfigError(
                f"{host}:{port} cannot be served",
                error.strerror or str(error),
                f"Set {variable} to a free port, or to 0 for any.",
            ) from None
        stack.pop_all()
    return sockets


def _bound(host: str, port: int, *, shared: bool, listening: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((host, port))
        if listening:
            made.listen(BACKLOG)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made
