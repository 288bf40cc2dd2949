"""HTTP/1.1 on the event loop: framing, limits, pipelining, slow clients. Parsed by llhttp.

Requests of one connection are answered in order, one at a time, so that the versions that a
connection sees never go back. What cannot be framed for sure (two lengths, a length and chunks, a
line folded or ended oddly) is refused and the connection closed: guessing is how requests are
smuggled. RFC 9112 is the reference.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import httptools

from serving.errors import Overloaded, RequestError, SlowRequest
from serving.gateway.exchange import Exchange
from serving.gateway.parsing import RequestParser
from serving.gateway.seat import Seat

if TYPE_CHECKING:
    from serving.gateway.group import Group
    from serving.gateway.heads import Head
    from serving.gateway.server import HttpServer

#: Requests that one connection may have parsed ahead before it is no longer read.
PIPELINE = 16
#: Seconds in which the client may read the answer before a refused connection is torn down.
LINGER = 2.0


class Connection(RequestParser, asyncio.Protocol):
    """One client's connection. `server` hands exchanges to the application."""

    def __init__(self, server: HttpServer) -> None:
        super().__init__(server)
        self._current: Exchange | Group | None = None
        self._advancing = False
        self._write_paused = False
        self._read_paused = False
        self._client_done = False
        self._seat = Seat(server)

    # the transport ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's callback."""
        self._transport = cast(asyncio.Transport, transport)
        if not self._server.enter(self):
            self._refuse(Overloaded("there are too many connections"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Asyncio's callback: nobody waits for these answers any more."""
        self._seat.give_back()
        # Heads know the connection that they were learned from.
        self._seat.head = None
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
        if not self._started:
            known = self._server.heads.match(data)
            if known is not None:
                if not self._gather(known, data):
                    self._take(known.exchange.again(self, data[known.end :]))
                return
            # Empty again once a request ends: what comes after it is not the beginning of `data`.
            self._begun = data
        head, ended = self._head if self._in_head else -1, self._ended
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._mark_last()
            self._lingering = True
        except httptools.HttpParserError:
            self._refuse(RequestError("the request is not valid HTTP/1.1"))
        self._begun = b""
        if self._in_head and head == self._head and self._started and ended == self._ended:
            # Not one line was completed, nor a request: the parser is collecting a long line.
            self._unfinished += len(data)
            self._check_head()
        if len(self._pipeline) >= PIPELINE:
            self._read(False)
        self._advance()

    def _gather(self, head: Head, data: bytes) -> bool:
        """Let the request be answered together with others, if it is due."""
        if head.gather is None or self._current is not None or self._pipeline or self._write_paused:
            return False
        self._seat.head = head
        return head.gather.take(self, data, head)

    def _take(self, exchange: Exchange) -> None:
        """A whole request whose head was parsed before."""
        if refusal := self._server.admit(exchange):
            self._refuse(refusal)
            return
        self._pipeline.append(exchange)
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

    # answers ----------------------------------------------------------------------------------

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
        if self._started:
            # The form of an error depends on the path, as far as that has come.
            exchange.headers = self._parsing.headers
            exchange.path = self._parsing.path.partition("?")[0]
        exchange.keep_alive = False
        self._pipeline.append(exchange)
        self._advance()

    def _mark_last(self) -> None:
        last = self._pipeline[-1] if self._pipeline else self._current
        if isinstance(last, Exchange):
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

    # answers of a group, see `serving.gateway.group.Client` --------------------------------------

    def wait_for(self, group: Group) -> None:
        """Answer nothing else before the answer of this group has come."""
        self._current = group

    def told(self, group: Group, data: bytes, now: float) -> bool:
        """Write an answer. False: nothing was written, since it must be the last, and say so."""
        if self._current is not group or self._transport.is_closing():
            return True
        if self._server.closing or (self._lingering and not self._pipeline):
            return False
        self._current = None
        self._since = now
        self._transport.write(data)
        if self._pipeline:
            self._advance()
        elif self._may_sit and self._seat.take(self, self._transport):
            self._read(False)
        return True

    def part(self, group: Group, head: Head, data: bytes) -> Exchange | None:
        """From now on wait for the exchange of this request; None if nobody waits any more."""
        if self._current is not group:
            return None
        exchange = head.exchange.again(self, data[head.end :])
        exchange.keep_alive = not self._lingering or bool(self._pipeline)
        self._current = exchange
        return exchange

    def resume(self, exchange: Exchange) -> None:
        """Have an exchange that was parted answered from its beginning."""
        self._server.handle(exchange)

    @property
    def _may_sit(self) -> bool:
        """Whether the next byte that comes is the first of a request."""
        return not (self._started or self._lingering or self._write_paused)

    def stand(self, data: bytes, unsent: bytes = b"") -> None:
        """Read for yourself again: the seat on the fast path is gone."""
        self._seat.lost()
        self._since = self._server.now()
        if self._transport.is_closing():
            return
        self._read(True)
        if unsent:
            self._transport.write(unsent)
        if not data:
            return
        try:
            self.data_received(data)
        except Exception:
            # As event loops do: a client that is cut off knows where it is.
            self._transport.abort()
            raise

    def _end(self) -> None:
        """Close so that the last answer can still be read (RFC 9112, 9.6); TLS sees to it itself."""
        self._lingering = True
        self._pipeline.clear()
        if self._client_done or not self._transport.can_write_eof():
            self._transport.close()
        else:
            self._transport.write_eof()
            self._read(True)

    def close_if_idle(self) -> None:
        """Close now, if no answer is due; otherwise the answer that is due closes it."""
        self._seat.give_back()
        if self.busy:
            self._mark_last()
        else:
            self._transport.close()

    def check_time(self, now: float) -> None:
        """Give up on a client that takes too long over its request, its reading or nothing."""
        if self._seat.is_taken:
            self._check_seat(now)
            return
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

    def _check_seat(self, now: float) -> None:
        if self._seat.is_used():
            self._since = now
        elif now - self._since > self._server.limits.idle_timeout:
            self._seat.give_back()
            self._transport.close()
