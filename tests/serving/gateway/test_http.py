"""HTTP framing: whatever the chunks, the same requests; whatever is doubtful, refused."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.gateway.exchange import Exchange
from serving.gateway.http import LINGER, PIPELINE, Connection
from serving.gateway.server import HttpServer, Limits


class FakeTransport(asyncio.Transport):
    """Keeps what was written, and how the connection stands."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reading = True
        self.ended = False
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.ended
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


@dataclass
class Rig:
    """One connection of a server whose application answers at once, or when told to."""

    limits: Limits = field(default_factory=Limits)
    at_once: bool = True
    max_connections: int = 10
    now: float = 0.0

    def __post_init__(self) -> None:
        self.seen: list[Exchange] = []
        self.server = HttpServer(self.handle, self.limits, self.max_connections, lambda: self.now)
        self.connection, self.transport = self.connect()

    def connect(self) -> tuple[Connection, FakeTransport]:
        connection, transport = self.server(), FakeTransport()
        connection.connection_made(transport)
        return connection, transport

    def handle(self, exchange: Exchange) -> None:
        if exchange.fault is not None:
            exchange.answer(exchange.fault.status, str(exchange.fault).encode())
            return
        self.seen.append(exchange)
        if self.at_once:
            self.answer(exchange)

    @staticmethod
    def answer(exchange: Exchange) -> None:
        exchange.answer(
            200, exchange.method + b" " + exchange.path.encode() + b" " + bytes(exchange.body)
        )

    def send(self, *chunks: bytes) -> bytes:
        """Feed chunks; returns what was written so far."""
        for chunk in chunks:
            self.connection.data_received(chunk)
        return self.transport.written

    @property
    def statuses(self) -> list[int]:
        """The status lines that were written."""
        data, found = self.transport.written, []
        while data:
            head, _, data = data.partition(b"\r\n\r\n")
            found.append(int(head.split()[1]))
            length = re.search(rb"content-length: (\d+)", head)
            data = data[int(length[1]) if length else 0 :]
        return found


def post(path: str, body: bytes, *, chunked: bool = False, extra: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: test\r\n{extra}"
    if not chunked:
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    pieces = [body[i : i + 7] for i in range(0, len(body), 7)]
    data = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + data + b"0\r\n\r\n"


GET = b"GET /a HTTP/1.1\r\nHost: test\r\n\r\n"

requests = st.lists(
    st.tuples(
        st.text("abc/", max_size=20).map(lambda path: f"/{path}"),
        st.binary(max_size=40),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@given(requests, st.data())
def test_any_chunking_gives_the_same_requests(
    sent: list[tuple[str, bytes, bool]], data: st.DataObject
) -> None:
    stream = b"".join(post(path, body, chunked=chunked) for path, body, chunked in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    rig = Rig()
    bounds = zip([0, *cuts], [*cuts, len(stream)], strict=True)
    rig.send(*(stream[start:stop] for start, stop in bounds if stop > start))
    assert [(e.path, bytes(e.body)) for e in rig.seen] == [(path, body) for path, body, _ in sent]
    assert rig.statuses == [200] * len(sent)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_rubbish_is_never_more_than_a_refusal(rubbish: bytes, cut: int) -> None:
    rig = Rig()
    rig.send(GET, *filter(None, (rubbish[:cut], rubbish[cut:])))
    assert rig.statuses[0] == 200
    assert set(rig.statuses[1:]) <= {200, 400, 408, 413, 431}


@given(st.data())
def test_mutated_requests_are_never_more_than_a_refusal(data: st.DataObject) -> None:
    stream = bytearray(post("/a", b"hello", chunked=data.draw(st.booleans())) + GET)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(stream) - 1))
        stream[place] = data.draw(st.integers(0, 255))
    rig = Rig()
    rig.send(bytes(stream))
    assert len(rig.seen) <= 3
    assert set(rig.statuses) <= {100, 200, 400, 413, 431}


SMUGGLED = {
    "length and chunks": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nhello",
    "one length twice": b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": b"Content-Length: 5, 5\r\n\r\nhello",
    "a signed length": b"Content-Length: +5\r\n\r\nhello",
    "a negative length": b"Content-Length: -5\r\n\r\nhello",
    "an empty length": b"Content-Length: \r\n\r\nhello",
    "an endless length": b"Content-Length: 99999999999999999999999\r\n\r\nhello",
    "a hexadecimal length": b"Content-Length: 0x5\r\n\r\nhello",
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked not last": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "a blank before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded line": b"A: b\r\n Content-Length: 5\r\n\r\nhello",
    "a bare CR": b"A: b\rContent-Length: 5\r\n\r\nhello",
    "a zero byte": b"A\0: b\r\n\r\n",
    "a bare LF": b"A: b\n\r\n",
    "a chunk size with 0x": b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "a chunk with bare LF": b"Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n",
    "a chunk too long": b"Transfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n",
    "two hosts": b"Host: other\r\n\r\n",
}


@pytest.mark.parametrize("fault", SMUGGLED)
def test_doubtful_framing_is_refused_and_nothing_after_it_is_read(fault: str) -> None:
    rig = Rig()
    rig.send(GET, b"POST /b HTTP/1.1\r\nHost: test\r\n" + SMUGGLED[fault], GET)
    assert [exchange.path for exchange in rig.seen] == ["/a"]
    assert rig.statuses[:1] == [200]
    assert rig.statuses[1] in (400, 413)
    assert len(rig.statuses) == 2
    assert rig.transport.ended


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: test\r\n\r\n",
        b"GET / HTTP/1.1\nHost: test\n\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_not_a_request_is_refused(head: bytes) -> None:
    rig = Rig()
    rig.send(head)
    assert rig.statuses == [400]
    assert rig.seen == []


def test_upgrade_is_answered_and_what_follows_is_not_a_request() -> None:
    rig = Rig()
    head = b"GET /a HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    rig.send(head + GET, GET)
    assert [exchange.path for exchange in rig.seen] == ["/a"]
    assert b"connection: close" in rig.transport.written


def test_pipelined_requests_are_answered_in_order_one_at_a_time() -> None:
    rig = Rig(at_once=False)
    rig.send(post("/1", b"x") + post("/2", b"y") + GET)
    assert [exchange.path for exchange in rig.seen] == ["/1"]
    for expected in ("/1", "/2", "/a"):
        assert rig.seen[-1].path == expected
        rig.answer(rig.seen[-1])
    assert rig.statuses == [200, 200, 200]


def test_a_client_that_runs_ahead_is_not_read() -> None:
    rig = Rig(at_once=False)
    rig.send(GET * (PIPELINE + 1))
    was_read = rig.transport.reading
    for _ in range(PIPELINE + 1):
        rig.answer(rig.seen[-1])
    assert (was_read, rig.transport.reading) == (False, True)
    assert len(rig.statuses) == PIPELINE + 1


def test_a_thousand_pipelined_requests_do_not_nest() -> None:
    rig = Rig()
    rig.send(GET * 5000)
    assert len(rig.statuses) == 5000


def test_a_client_that_reads_slowly_gets_no_more_answers() -> None:
    rig = Rig()
    rig.connection.pause_writing()
    rig.send(GET)
    assert rig.seen == []
    assert not rig.transport.reading
    rig.connection.resume_writing()
    assert rig.statuses == [200]
    rig.connection.pause_writing()
    rig.now += rig.limits.read_timeout + 1
    rig.server.check_time()
    assert rig.transport.closed


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused(chunked: bool) -> None:
    rig = Rig(Limits(max_body=10))
    rig.send(post("/fits", b"x" * 10, chunked=chunked))
    rig.send(post("/over", b"x" * 11, chunked=chunked), GET)
    assert rig.statuses == [200, 413]
    assert rig.transport.ended


def test_a_length_over_the_limit_is_refused_before_the_body_comes() -> None:
    rig = Rig(Limits(max_body=10))
    rig.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 11\r\n\r\n")
    assert rig.statuses == [413]


@pytest.mark.parametrize(
    "head",
    [
        [b"GET /" + b"a" * 300 + b" HTTP/1.1\r\n"],
        [b"GET / HTTP/1.1\r\n", b"A: " + b"a" * 300 + b"\r\n"],
        [b"GET / HTTP/1.1\r\n"] + [b"A: b\r\n"] * 101,
        [b"GET / HTTP/1.1\r\nA: "] + [b"a"] * 300,
        [b"GET /"] + [b"a"] * 300,
        [b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"]
        + [b"Trailer: abcdefgh\r\n"] * 20,
    ],
)
def test_headers_over_the_limit_are_refused(head: list[bytes]) -> None:
    rig = Rig(Limits(max_header=200))
    rig.send(*head)
    assert rig.statuses == [431]


def test_header_limit_starts_anew_with_each_request() -> None:
    rig = Rig(Limits(max_header=60))
    rig.send(*[post("/a", b"x" * 50)[i : i + 1] for i in range(len(post("/a", b"x" * 50)))])
    rig.send(*([GET] * 20))
    assert rig.statuses == [200] * 21


def test_slow_request_is_told_so_and_idle_connection_is_closed() -> None:
    rig = Rig(Limits(read_timeout=5, idle_timeout=60))
    rig.send(GET)
    rig.now += 50
    rig.server.check_time()
    rig.send(b"GET / HT")
    rig.now += 6
    rig.server.check_time()
    assert rig.statuses == [200, 408]
    rig.now += LINGER + 1
    rig.server.check_time()
    assert rig.transport.closed

    idle, transport = rig.connect()
    rig.now += 61
    rig.server.check_time()
    assert transport.closed
    assert not idle.busy


def test_a_request_that_is_computed_is_not_timed_out_here() -> None:
    rig = Rig(Limits(read_timeout=5, idle_timeout=6), at_once=False)
    rig.send(GET)
    rig.now += 100
    rig.server.check_time()
    assert not rig.transport.closed


def test_a_client_that_goes_cancels_its_request() -> None:
    rig = Rig(at_once=False)
    rig.send(GET)
    cancelled = []
    rig.seen[0].cancelled = lambda: cancelled.append(True)
    rig.connection.connection_lost(None)
    assert cancelled == [True]
    rig.answer(rig.seen[0])
    assert rig.transport.written == b""
    assert rig.server.connections == set()


def test_a_client_that_closes_its_side_still_gets_its_answer() -> None:
    rig = Rig(at_once=False)
    rig.send(GET)
    assert rig.connection.eof_received()
    rig.answer(rig.seen[0])
    assert rig.statuses == [200]
    assert rig.transport.closed


def test_too_many_connections_are_told_so() -> None:
    rig = Rig(max_connections=1)
    _, transport = rig.connect()
    assert transport.written.startswith(b"HTTP/1.1 503")
    assert transport.ended


def test_expect_continue() -> None:
    rig = Rig()
    request = post("/a", b"hello", extra="Expect: 100-continue\r\n")
    head, _, body = request.partition(b"\r\n\r\n")
    assert rig.send(head + b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    rig.send(body)
    assert rig.statuses == [100, 200]


def test_head_gets_no_body_and_old_clients_are_told_about_the_connection() -> None:
    rig = Rig()
    rig.send(b"HEAD /a HTTP/1.1\r\nHost: t\r\n\r\n")
    assert rig.transport.written.endswith(b"content-length: 8\r\n\r\n")
    rig.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert b"connection: keep-alive" in rig.transport.written
    rig.send(b"GET /a HTTP/1.0\r\n\r\n")
    assert rig.transport.ended


def test_draining_closes_with_the_next_answer() -> None:
    rig = Rig(at_once=False)
    rig.send(GET)
    idle, transport = rig.connect()
    rig.server.closing = True
    rig.server.close_idle()
    assert transport.closed
    assert not idle.busy
    rig.answer(rig.seen[0])
    assert b"connection: close" in rig.transport.written
    assert rig.transport.ended


def test_a_chunk_that_ends_in_a_request_line_is_no_long_header():
    """What came before in the chunk belongs to requests that are read."""
    rig = Rig(Limits(max_header=1024))
    body = b"x" * 4000
    first = b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    second = b"GET /b HTTP/1.1\r\nhost: x\r\n\r\n"
    rig.connection.data_received(first + second[:3])
    rig.connection.data_received(second[3:])
    assert rig.statuses == [200, 200]
