"""Heads of requests that were parsed before: the same bytes mean the same, so they are looked up.

Clients that keep their connection send the same request line and headers again and again; only the
body differs, and its length takes few values. A head is learned from a request that the parser has
taken whole, and recognised only by all of its bytes. One with a header that is not in `PLAIN` is
never kept: neither a token nor a request's own id.
"""

from __future__ import annotations

from serving.gateway.exchange import Answering, Exchange

#: Headers of heads that are kept. Nothing secret, nothing that differs from request to request.
PLAIN = frozenset(
    [
        b"accept", b"accept-encoding", b"connection", b"content-length", b"content-type", b"host",
        b"user-agent",
    ]
)  # fmt: skip
#: Heads that are kept, and bytes of each. When there are too many, all are learned anew.
MOST = 1024
LONGEST = 1024
_END = b"\r\n\r\n"


class Heads:
    """The heads that one gateway knows, each with an exchange as the parser made it."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[int, Exchange]] = {}

    def match(self, data: bytes, connection: Answering) -> Exchange | None:
        """The request that `data` is, if it is one whole request whose head is known."""
        end = data.find(_END) + len(_END)
        known = self._known.get(data[:end])
        if known is None or len(data) != known[0]:
            return None
        return known[1].again(connection, data[end:])

    def learn(self, data: bytes, exchange: Exchange) -> None:
        """Keep the head of `data`, which the parser has read as `exchange`, if it may be kept."""
        end = data.find(_END) + len(_END)
        whole = len(data) == end + len(exchange.body)
        if not whole or end > LONGEST or exchange.method != b"POST" or not exchange.keep_alive:
            return
        if exchange.old or exchange.fault is not None:
            return
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[data[:end]] = len(data), exchange.again(exchange.connection, b"")
