"""One call of gRPC, as its client and the log are told of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from serving.gateway import trace
from serving.gateway.access import Note
from serving.gateway.rpc.schema import SERVICE

AUTHORIZATION = b"authorization"
#: What the gateway reads of a call's metadata.
KEPT = frozenset({AUTHORIZATION, trace.REQUEST_ID, trace.TRACEPARENT})


class RpcExchange:
    """A call by its `name`; implements `serving.gateway.access.Asked`.

    A call answers with metadata at its end, be it well or not: the names of the request stand there.
    """

    __slots__ = (
        "authorization",
        "client",
        "length",
        "method",
        "names",
        "observer",
        "path",
        "served",
    )

    def __init__(self, name: str, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        given = _kept(metadata)
        #: What the line of the log calls it: under gRPC there is HTTP/2, where each call is a POST.
        self.method, self.path = b"POST", f"/{SERVICE}/{name}"
        self.authorization = given.get(AUTHORIZATION, b"")
        self.names = trace.name(given)
        self.client = ""
        #: The generation that answered.
        self.served: Any = None
        #: Bytes of messages sent so far.
        self.length = 0
        self.observer: Note | None = None

    @property
    def trailing(self) -> tuple[tuple[str, str], ...]:
        """Request id and trace as metadata."""
        lines = (line.partition(": ") for line in self.names.decode().splitlines())
        return tuple((key, value) for key, _, value in lines)

    def sent(self, message: Any) -> None:
        """Count a message of the answer."""
        if self.observer is not None:
            self.length += message.ByteSize()

    def ended(self, status: int) -> None:
        """Tell the observer that the answer is complete, with the status that HTTP has for it."""
        if self.observer is not None:
            self.observer(self, status, self.length)


def _kept(metadata: Iterable[tuple[str, str | bytes]]) -> dict[bytes, bytes]:
    """What is read of the metadata; as in HTTP, what comes twice has its values joined."""
    found: dict[bytes, bytes] = {}
    for key, value in metadata:
        name = key.encode()
        if name in KEPT:
            text = value.encode() if isinstance(value, str) else value
            found[name] = b"%b, %b" % (found[name], text) if name in found else text
    return found
