"""Heads of requests that were parsed before: the same bytes mean the same, so they are looked up.

Clients that keep their connection send the same request line and headers again and again; only the
body differs, and its length takes few values. A head is learned from a request that the parser has
taken whole, and recognised only by all of its bytes. One with a header that is not in `PLAIN` is
never kept: neither a token nor a request's own id.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from serving.gateway.exchange import Exchange

if TYPE_CHECKING:
    from array import array

    from registry.models.signature import Matrix
    from serving.gateway.fast import FastPath
    from serving.gateway.plain import Tray

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


class Gathers(Protocol):
    """What may take requests with a head: `serving.gateway.gather.Gather`."""

    def prepare(self) -> Tray | None:
        """Where the fast path reads rows to; None: nothing may be taken now."""

    def take_run(self, fast: FastPath, tokens: array[int], rows: Matrix, *, alone: bool) -> bool:
        """Take requests from the fast path, one row each; False: they must go the long way.

        `alone`: in this turn of the loop there are no others.
        """

    def take(self, client: Any, data: bytes, head: Head) -> bool:
        """Take a whole request, if it can be gathered."""


@dataclass(frozen=True, slots=True)
class Head:
    """A head, the bytes `text`, which begins a request of `size` bytes."""

    text: bytes
    size: int
    #: As the parser made it, without a body.
    exchange: Exchange
    #: What gathers such requests, if they may be.
    gather: Gathers | None

    @property
    def end(self) -> int:
        """Where the body begins."""
        return len(self.text)


class Heads:
    """The heads that one gateway knows. `find` gives what gathers requests with the head of one."""

    def __init__(
        self,
        find: Callable[[Exchange], Gathers | None] = lambda _: None,
        fast: FastPath | None = None,
    ) -> None:
        self._find = find
        self._fast = fast
        self._known: dict[bytes, Head] = {}

    def match(self, data: bytes) -> Head | None:
        """The head of `data`, if that is one whole request whose head is known."""
        end = data.find(_END) + len(_END)
        known = self._known.get(data[:end])
        return known if known is not None and len(data) == known.size else None

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
            if self._fast is not None:
                self._fast.forget()
        bare = exchange.again(exchange.connection, b"")
        text = data[:end]
        head = self._known[text] = Head(text, len(data), bare, self._find(bare))
        if self._fast is not None:
            self._fast.know(head)
