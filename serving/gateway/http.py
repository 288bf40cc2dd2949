"""HTTP/1.1 on the event loop: framing, limits, pipelining, slow clients. Parsed by llhttp.

Requests of one connection are answered in order, one at a time, so that the versions that a
connection sees never go back. What cannot be framed for sure (two lengths, a length and chunks, a
line folded or ended oddly) is refused and the connection closed: guessing is how requests are
smuggled. RFC 9112 is the reference.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, cast

import httptools

from serving.errors import BodyTooLarge, HeadersTooLarge, Overloaded, RequestError, SlowRequest
from serving.gateway.exchange import KEPT, Exchange

if TYPE_CHECKING:
    from serving.gateway.server import HttpServer, Limits

#: Requests that one connection may have parsed ahead before it is no longer read.
PIPELINE = 16
#: Header lines of one request.
MAX_HEADERS = 100
#: Seconds in which the client may read the answer before a refused connection is torn down.
LINGER = 2.0


class Connection(asyncio.Protocol):
    """One client's connection. `server` hands exchanges to the application."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._pipeline: deque[Exchange] = deque()
        self._current: Exchange | None = None
        self._parsing = Exchange(self)
        self._advancing = False
        self._write_paused = False
        self._read_paused = False
        #: Nothing that comes now is a request: the last one was read, or framing was lost.
        self._lingering = False
        self._client_done = False
        self._hosts = 0
        self._expects = self._chunked = False
        self._in_head = True
        self._started = False
        #: Bytes of the head that were read as lines, and of the line that is not complete.
        self._head = self._unfinished = 0
        self._headers = 0
        self._since = server.now()

    # the transport ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's callback."""
        self._transport = cast(asyncio.Transport, transport)
        if not self._server.enter(self):
            self._refuse(Overloaded("there are too many connections"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Asyncio's callback: nobody waits for these answers any more."""
        self._server.leave(self)
        self._lingering = True
        self._pipeline.clear()
        if self._current is not None and self._current.cancelled is not None:
            self._current.cancelled()
        self._current = None

    def eof_received(self) -> bool:
        """Asyncio's callback. A client may close its side and still read its answers."""
        self._lingering = self._client_done = True
        self._mark_last()
        return self.busy

    def pause_writing(self) -> None:
        """Asyncio's callback: the client reads more slowly than it asks."""
        self._write_paused = True
        self._since = self._server.now()
        self._read(False)

    def resume_writing(self) -> None:
        """Asyncio's callback."""
        self._write_paused = False
        self._read(True)
        self._advance()

    def data_received(self, data: bytes) -> None:
        """Asyncio's callback."""
        if self._lingering:
            return
        head = self._head if self._in_head else -1
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._mark_last()
            self._lingering = True
        except httptools.HttpParserError:
            self._refuse(RequestError("the request is not valid HTTP/1.1"))
        if self._in_head and head == self._head and self._started:
            # Not one line was completed: the parser is collecting a long one.
            self._unfinished += len(data)
            self._check_head()
        if len(self._pipeline) >= PIPELINE:
            self._read(False)
        self._advance()

    def _read(self, wanted: bool) -> None:
        """Stop or go on reading the socket."""
        if wanted and self._read_paused:
            self._transport.resume_reading()
        elif not wanted and not self._read_paused:
            self._transport.pause_reading()
        self._read_paused = not wanted

    # the parser -------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Parser's callback."""
        self._parsing = Exchange(self)
        self._in_head = self._started = True
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
        if not self._lingering:
            exchange = self._parsing
            exchange.path = exchange.path.partition("?")[0]
            self._pipeline.append(exchange)

    def _check_head(self) -> None:
        limit = self._server.limits.max_header
        if self._head + self._unfinished > limit or self._headers > MAX_HEADERS:
            self._refuse(
                HeadersTooLarge(f"the headers exceed {limit} bytes or {MAX_HEADERS} lines")
            )

    # answers ----------------------------------------------------------------------------------

    @property
    def closing(self) -> bool:
        """Whether the service drains, so that each answer is its connection's last."""
        return self._server.closing

    @property
    def busy(self) -> bool:
        """Whether an answer is still due."""
        return self._current is not None or bool(self._pipeline)

    def _refuse(self, error: RequestError) -> None:
        """Answer what came before, then this error, then read nothing more."""
        if self._lingering:
            return
        self._lingering = True
        exchange = Exchange(self)
        exchange.fault = error
        exchange.keep_alive = False
        self._pipeline.append(exchange)
        self._advance()

    def _mark_last(self) -> None:
        last = self._pipeline[-1] if self._pipeline else self._current
        if last is not None:
            last.keep_alive = False

    def _advance(self) -> None:
        """Start on waiting exchanges, as long as each is answered at once."""
        if self._advancing:
            return
        self._advancing = True
        while self._pipeline and self._current is None and not self._write_paused:
            self._current = self._pipeline.popleft()
            self._server.handle(self._current)
            if not self._pipeline and not self._write_paused:
                self._read(True)
        self._advancing = False

    def answered(self, exchange: Exchange, data: bytes) -> None:
        """Write the answer to the current exchange and go on with the next."""
        if exchange is not self._current or self._transport.is_closing():
            return
        self._current = None
        self._since = self._server.now()
        self._transport.write(data)
        if exchange.keep_alive:
            self._advance()
        else:
            self._end()

    def _end(self) -> None:
        """Close so that the client can still read the last answer (RFC 9112, 9.6)."""
        self._lingering = True
        self._pipeline.clear()
        if self._client_done:
            self._transport.close()
        else:
            self._transport.write_eof()
            self._read(True)

    def close_if_idle(self) -> None:
        """Close now, if no answer is due; otherwise the answer that is due closes it."""
        if self.busy:
            self._mark_last()
        else:
            self._transport.close()

    def check_time(self, now: float) -> None:
        """Give up on a client that takes too long over its request, its reading or nothing."""
        waited = now - self._since
        limits = self._server.limits
        if self._write_paused:
            if waited > limits.read_timeout:
                self._transport.abort()
        elif self.busy:
            return
        elif self._lingering:
            sent = self._transport.get_write_buffer_size() == 0
            if waited > (LINGER if sent else limits.read_timeout):
                self._transport.abort()
        elif self._started:
            if waited > limits.read_timeout:
                self._refuse(SlowRequest("the request did not arrive in time"))
        elif waited > limits.idle_timeout:
            self._transport.close()


def _too_large(limits: Limits) -> BodyTooLarge:
    return BodyTooLarge(f"the body exceeds {limits.max_body} bytes")
