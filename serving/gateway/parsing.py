"""From the bytes of a connection to exchanges: what llhttp calls, and the limits of a head and body."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING

import httptools

from serving.errors import BodyTooLarge, HeadersTooLarge, RequestError
from serving.gateway.exchange import KEPT, Exchange
from serving.gateway.heads import PLAIN

if TYPE_CHECKING:
    import asyncio

    from serving.gateway.server import HttpServer, Limits

#: Header lines of one request.
MAX_HEADERS = 100


class RequestParser(ABC):
    """The half of a connection that reads. Whole requests end up in `_pipeline`."""

    _transport: asyncio.Transport

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._pipeline: deque[Exchange] = deque()
        self._parsing = Exchange(self)
        #: Nothing that comes now is a request: the last one was read, or framing was lost.
        self._lingering = False
        self._hosts = 0
        self._expects = self._chunked = False
        self._in_head = self._plain = True
        self._started = False
        #: What began with the first byte of a request and is being parsed; otherwise empty.
        self._begun = b""
        #: Bytes of the head that were read as lines, and of the line that is not complete.
        self._head = self._unfinished = 0
        self._headers = 0
        #: Requests that were read to their end.
        self._ended = 0
        self._since = server.now()

    @property
    def closing(self) -> bool:
        """Whether the service drains, so that each answer is its connection's last."""
        return self._server.closing

    @property
    @abstractmethod
    def busy(self) -> bool:
        """Whether an answer is still due."""

    @abstractmethod
    def answered(self, exchange: Exchange, data: bytes) -> None:
        """Write the answer to an exchange and go on with the next."""

    @abstractmethod
    def _refuse(self, error: RequestError) -> None:
        """Answer what came before, then this error, then read nothing more."""

    def on_message_begin(self) -> None:
        """Parser's callback."""
        self._parsing = Exchange(self)
        self._in_head = self._started = self._plain = True
        self._expects = self._chunked = False
        self._head = self._unfinished = self._headers = self._hosts = 0
        if not self.busy:
            self._since = self._server.now()

    def on_url(self, url: bytes) -> None:
        """Parser's callback; a long target comes in pieces."""
        self._head += len(url)
        self._unfinished = 0
        self._check_head()
        self._parsing.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser's callback."""
        self._head += len(name) + len(value) + 4
        self._unfinished = 0
        self._headers += 1
        self._check_head()
        if self._in_head:
            self._note(name.lower(), value)

    def _note(self, name: bytes, value: bytes) -> None:
        """Remember the few headers that matter. Trailers never get here."""
        self._plain = self._plain and name in PLAIN
        if name == b"host":
            self._hosts += 1
        elif name in KEPT:
            kept = self._parsing.headers
            kept[name] = kept[name] + b", " + value if name in kept else value
        elif name == b"authorization":
            # Two of them are nobody's.
            self._parsing.authorization += value
        elif name == b"expect":
            self._expects = value.lower() == b"100-continue"
        elif name == b"transfer-encoding":
            self._chunked = True
        elif name == b"content-length" and int(value) > self._server.limits.max_body:
            self._refuse(_too_large(self._server.limits))

    def on_headers_complete(self) -> None:
        """Parser's callback."""
        self._in_head = False
        exchange = self._parsing
        exchange.method = self._parser.get_method()
        exchange.keep_alive = self._parser.should_keep_alive()
        version = self._parser.get_http_version()
        exchange.old = version == "1.0"
        if version not in ("1.0", "1.1"):
            self._refuse(RequestError("only HTTP/1.1 and HTTP/1.0 are spoken here"))
        if self._hosts != 1 and not (exchange.old and not self._hosts):
            self._refuse(RequestError("the request must have exactly one Host header"))
        if self._chunked and exchange.old:
            self._refuse(RequestError("HTTP/1.0 has no Transfer-Encoding"))
        if refusal := self._server.admit(exchange):
            self._refuse(refusal)
        if self._expects and not self.busy and not self._lingering:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Parser's callback."""
        exchange = self._parsing
        if len(exchange.body) + len(body) > self._server.limits.max_body:
            self._refuse(_too_large(self._server.limits))
            return
        if not exchange.body:
            exchange.body = body
            return
        if isinstance(exchange.body, bytes):
            # Appending to bytes copies all of them: many small chunks would cost their square.
            exchange.body = bytearray(exchange.body)
        exchange.body += body

    def on_message_complete(self) -> None:
        """Parser's callback."""
        self._in_head, self._started, self._head = True, False, 0
        self._ended += 1
        if not self._lingering:
            exchange = self._parsing
            exchange.path = exchange.path.partition("?")[0]
            if self._plain and self._begun:
                self._server.heads.learn(self._begun, exchange)
            self._pipeline.append(exchange)
        self._begun = b""

    def _check_head(self) -> None:
        limit = self._server.limits.max_header
        if self._head + self._unfinished > limit or self._headers > MAX_HEADERS:
            self._refuse(
                HeadersTooLarge(f"the headers exceed {limit} bytes or {MAX_HEADERS} lines")
            )


def _too_large(limits: Limits) -> BodyTooLarge:
    return BodyTooLarge(f"the body exceeds {limits.max_body} bytes")
