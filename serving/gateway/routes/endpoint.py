"""An endpoint: what a path does, for the one method that it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from serving.errors import MethodNotAllowed
from serving.gateway.exchange import Exchange
from serving.gateway.gather import Gather

encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Endpoint:
    """What answers an exchange. One that is read answers HEAD like GET."""

    method: bytes
    handle: Callable[[Exchange], None]
    #: What gathers plain requests, where that is possible.
    gather: Gather | None = None

    def answer(self, exchange: Exchange) -> None:
        """Answer. Raises RequestError; MethodNotAllowed if the path is not for this method."""
        reads = self.method == b"GET"
        if exchange.method != self.method and not (reads and exchange.method == b"HEAD"):
            allowed = "GET, HEAD" if reads else self.method.decode()
            raise MethodNotAllowed("the method is not allowed here", allowed)
        self.handle(exchange)
