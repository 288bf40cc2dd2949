"""All connections of one gateway, and what each may take."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

from serving.encryption import Encryption
from serving.errors import RequestError
from serving.gateway.exchange import Exchange
from serving.gateway.fast import FastPath
from serving.gateway.gather import Gather
from serving.gateway.heads import Heads
from serving.gateway.http import LINGER, Connection
from serving.listeners import BACKLOG

#: Seconds in which an idle connection may still send a request after the listener was closed.
LAST_CALL = 0.5

Handler = Callable[[Exchange], None]
#: Looks at the head of a request before its body is read; returns why it is refused, if it is.
Doorkeeper = Callable[[Exchange], RequestError | None]


@dataclass(frozen=True)
class Limits:
    """Bytes and seconds that one connection may take."""

    max_header: int = 16 * 1024
    max_body: int = 16 * 1024 * 1024
    read_timeout: float = 20.0
    idle_timeout: float = 75.0


class HttpServer:
    """All connections of one gateway."""

    def __init__(
        self,
        handle: Handler,
        limits: Limits,
        max_connections: int,
        now: Callable[[], float],
        admit: Doorkeeper = lambda _: None,
        encryption: Encryption | None = None,
        gather: Callable[[Exchange], Gather | None] = lambda _: None,
        fast: FastPath | None = None,
    ) -> None:
        self.handle = handle
        self.admit = admit
        self.limits = limits
        self.now = now
        self._closing = False
        #: Where connections have a seat whose requests native code reads; None: all read themselves.
        self.fast = fast
        self.connections: set[Connection] = set()
        self.heads = Heads(gather, fast)
        self._max = max_connections
        self._encryption = encryption
        self._accepting: asyncio.Server | None = None

    @property
    def closing(self) -> bool:
        """Whether the service drains: every answer closes its connection."""
        return self._closing

    @closing.setter
    def closing(self, closing: bool) -> None:
        self._closing = closing
        if closing and self.fast is not None:
            fast, self.fast, self.heads = self.fast, None, Heads()
            fast.close()

    async def open(self, listener: socket.socket) -> None:
        """Accept connections at `listener`."""
        loop = asyncio.get_running_loop()
        encryption = self._encryption
        self._accepting = await loop.create_server(
            self,
            sock=listener,
            backlog=BACKLOG,
            ssl=encryption.context if encryption else None,
            ssl_handshake_timeout=self.limits.read_timeout if encryption else None,
            ssl_shutdown_timeout=LINGER if encryption else None,
        )

    async def close(self) -> None:
        """Accept nothing more; returns when every connection has had its last answer."""
        self.closing = True
        if self._accepting is not None:
            self._accepting.close()
        last_call = self.now() + LAST_CALL
        while self.connections:
            await asyncio.sleep(0.02)
            if self.now() > last_call:
                self.close_idle()

    def __call__(self) -> Connection:
        """Protocol factory for `create_server`."""
        return Connection(self)

    def enter(self, connection: Connection) -> bool:
        """Count a connection; False if there are too many."""
        self.connections.add(connection)
        return len(self.connections) <= self._max

    def leave(self, connection: Connection) -> None:
        """Forget a connection."""
        self.connections.discard(connection)

    def check_time(self) -> None:
        """Give up on slow clients, follow a renewed certificate; called about once a second."""
        if self._encryption is not None:
            self._encryption.look()
        now = self.now()
        for connection in list(self.connections):
            connection.check_time(now)

    def close_idle(self) -> None:
        """Close what is idle; the others close with their last answer."""
        for connection in list(self.connections):
            connection.close_if_idle()
