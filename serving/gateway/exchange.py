"""An exchange: one parsed HTTP request and the answer that it gets."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

from serving.errors import RequestError
from serving.gateway import trace

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"
HTML = b"text/html; charset=utf-8"
OCTETS = b"application/octet-stream"

#: Headers that the application asks for.
KEPT = frozenset(
    [
        b"content-encoding", b"content-type", b"inference-header-content-length",
        trace.REQUEST_ID, trace.TRACEPARENT,
    ]
)  # fmt: skip

_REASONS = {
    200: b"OK",
    400: b"Bad Request",
    401: b"Unauthorized",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}
_START = {code: b"HTTP/1.1 %d %s\r\n" % (code, reason) for code, reason in _REASONS.items()}
#: The first line of an answer with a prediction.
GOOD = _START[200]


@functools.lru_cache(maxsize=4096)
def good_head(length: int, headers: bytes) -> tuple[bytes, bytes]:
    """What is before and after its names in the head of an answer of `length` bytes of JSON."""
    after = b"content-type: %b\r\ncontent-length: %d\r\n%b\r\n" % (JSON, length, headers)
    return GOOD, after


class Answering(Protocol):
    """Where an answer goes: the connection that the request came from."""

    @property
    def closing(self) -> bool:
        """Whether this answer must be the last on its connection."""

    def answered(self, exchange: Exchange, data: bytes) -> None:
        """Write the answer to `exchange` and go on with the next."""


class Exchange:
    """A request: `method`, `path` without the query, the few `headers` that matter, `body`.

    It is answered once, by `answer`. `cancelled` is called instead when the client goes first.
    """

    __slots__ = (
        "_names",
        "authorization",
        "body",
        "cancelled",
        "client",
        "connection",
        "fault",
        "headers",
        "keep_alive",
        "method",
        "observer",
        "old",
        "path",
        "served",
    )

    def __init__(self, connection: Answering) -> None:
        self.connection = connection
        self.method = b""
        self.path = ""
        self.authorization = b""
        #: Those of `KEPT` that the request has; one that comes twice has its values joined by ", ".
        self.headers: dict[bytes, bytes] = {}
        self.body: bytes | bytearray = b""
        self.keep_alive = True
        #: HTTP/1.0, which must be told that a connection stays open.
        self.old = False
        self.fault: RequestError | None = None
        self.cancelled: Callable[[], None] | None = None
        self._names = b""
        #: Who asks, by the name of the token, and the generation that answered.
        self.client = ""
        self.served: Any = None
        #: Told of the answer: status, and bytes of the body.
        self.observer: Callable[[Exchange, int, int], None] | None = None

    @property
    def names(self) -> bytes:
        """Its request id and trace, as whole header lines; see `serving.gateway.trace`."""
        if not self._names:
            self._names = trace.name(self.headers)
        return self._names

    def again(self, connection: Answering, body: bytes) -> Exchange:
        """A new exchange with the same head."""
        new = Exchange(connection)
        new.method = self.method
        new.path = self.path
        new.authorization = self.authorization
        new.headers = self.headers.copy()
        new.body = body
        new.keep_alive = self.keep_alive
        new.old = self.old
        return new

    def answer(
        self, status: int, body: bytes, content_type: bytes = JSON, headers: bytes = b""
    ) -> None:
        """Send the answer. `headers` are whole lines, each ended by CRLF."""
        self.cancelled = None
        self.keep_alive = self.keep_alive and not self.connection.closing
        if not self.keep_alive:
            headers += b"connection: close\r\n"
        elif self.old:
            headers += b"connection: keep-alive\r\n"
        head = b"%b%bcontent-type: %b\r\ncontent-length: %d\r\n%b\r\n" % (
            _START[status], self.names, content_type, len(body), headers
        )  # fmt: skip
        if self.observer is not None:
            self.observer(self, status, len(body))
        self.connection.answered(self, head if self.method == b"HEAD" else head + body)
