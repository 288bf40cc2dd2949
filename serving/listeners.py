"""Where clients come in: one socket for each gateway, all on one port.

The kernel gives each new connection to one of the sockets, by a hash of its addresses, so that the
gateways share the connections evenly. The supervisor holds the sockets as well: what waits in the
queue of a gateway that died is still there for the one that takes its place.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence

from registry.errors import ConfigError

BACKLOG = 1024


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
