"""A connection's seat on the fast path, if it has one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from serving.gateway.seats import ROOM

if TYPE_CHECKING:
    from serving.gateway.group import Client
    from serving.gateway.heads import Head
    from serving.gateway.server import HttpServer

#: Gathered requests, one after the other, after which a connection gets a seat that has lost one
#: again and again.
PATIENCE = 64


class Seat:
    """One for each connection of `server`, taken or not."""

    __slots__ = ("_number", "_patience", "_row", "_server", "head")

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._number = -1
        #: Requests that were gathered in a row, and how many of them earn a seat.
        self._row, self._patience = 0, 1
        #: The head of the last of them.
        self.head: Head | None = None

    @property
    def is_taken(self) -> bool:
        """Whether native code reads and answers."""
        return self._number >= 0

    def is_used(self) -> bool:
        """Whether a request is being answered there, or was since this was last asked."""
        fast = self._server.fast
        return fast is not None and self._number >= 0 and fast.state(self._number) > 0

    def take(self, client: Client, transport: asyncio.Transport) -> bool:
        """Have native code read and answer, if `client` has only sent what that understands.

        A request of it was answered just now.
        """
        self._row += 1
        fast, head = self._server.fast, self.head
        if fast is None or self._row < self._patience or head is None or head.size >= ROOM:
            return False
        if transport.get_write_buffer_size():
            return False
        self._number = fast.seat(client, transport.get_extra_info("socket").fileno(), head)
        return self._number >= 0

    def give_back(self) -> None:
        """Have the connection read for itself again; it is told by `Client.stand`."""
        if self._number >= 0 and self._server.fast is not None:
            self._server.fast.give_back(self._number)

    def lost(self) -> None:
        """It is gone. Who loses it often gets it less often."""
        self._number, self._row = -1, 0
        self._patience = min(2 * self._patience, PATIENCE)
