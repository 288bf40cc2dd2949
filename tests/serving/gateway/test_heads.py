"""Heads that were parsed before: looked up, they make the same exchanges as the parser."""

from __future__ import annotations

import pytest

from serving.errors import RequestError
from serving.gateway.exchange import Exchange
from serving.gateway.heads import LONGEST, MOST
from tests.serving.gateway.test_http import Rig

HEAD = b"POST /v2/models/m/infer?x=1 HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"


def request(body: bytes = b"{}", headers: bytes = b"", start: bytes = HEAD) -> bytes:
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (start, headers, len(body), body)


def known(rig: Rig) -> int:
    return len(rig.server.heads._known)


def content(exchange: Exchange) -> dict[str, object]:
    skipped = ("connection", "cancelled", "_names")
    return {name: getattr(exchange, name) for name in Exchange.__slots__ if name not in skipped}


def test_a_known_head_makes_the_exchange_that_the_parser_makes() -> None:
    rig = Rig()
    rig.connection.data_received(request())
    assert known(rig) == 1
    rig.connection._parser = None  # type: ignore[assignment]
    rig.connection.data_received(request())
    parsed, found = rig.seen
    assert content(found) == content(parsed)
    assert found.names != parsed.names
    assert found.path == "/v2/models/m/infer"
    assert rig.transport.written.count(b"HTTP/1.1 200") == 2


def test_another_body_of_the_same_length_is_that_body() -> None:
    rig = Rig()
    other, _ = rig.connect()
    rig.connection.data_received(request(b"[1]"))
    other.data_received(request(b"[2]"))
    assert [exchange.body for exchange in rig.seen] == [b"[1]", b"[2]"]


@pytest.mark.parametrize("cut", range(0, len(request(b"[1]")), 9))
def test_a_request_in_pieces_is_parsed(cut: int) -> None:
    rig = Rig()
    rig.connection.data_received(request(b"[1]"))
    rig.connection.data_received(request(b"[2]")[:cut])
    rig.connection.data_received(request(b"[2]")[cut:])
    rig.connection.data_received(request(b"[3]"))
    assert [exchange.body for exchange in rig.seen] == [b"[1]", b"[2]", b"[3]"]


def test_two_requests_in_one_piece_are_parsed() -> None:
    rig = Rig()
    rig.connection.data_received(request(b"[1]") + request(b"[2]"))
    assert known(rig) == 0
    rig.connection.data_received(request(b"[3]"))
    rig.connection.data_received(request(b"[4]") + request(b"[5]"))
    assert [exchange.body for exchange in rig.seen] == [b"[%d]" % n for n in range(1, 6)]


@pytest.mark.parametrize(
    "data",
    [
        request(headers=b"Authorization: Bearer secret\r\n"),
        request(headers=b"X-Request-Id: 7\r\n"),
        request(headers=b"Connection: close\r\n"),
        request(start=HEAD.replace(b"POST", b"GET")),
        request(start=HEAD.replace(b"HTTP/1.1", b"HTTP/1.0")),
        request(headers=b"User-Agent: %b\r\n" % (b"a" * LONGEST)),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ],
)
def test_what_is_not_plain_is_not_kept(data: bytes) -> None:
    rig = Rig()
    rig.connection.data_received(data)
    assert len(rig.seen) == 1
    assert known(rig) == 0


def test_a_known_head_is_asked_for_its_token_again() -> None:
    rig = Rig()
    rig.connection.data_received(request())
    rig.server.admit = lambda _: RequestError("not any more")
    rig.connection.data_received(request())
    assert len(rig.seen) == 1
    assert b"not any more" in rig.transport.written
    assert rig.transport.ended


def test_the_heads_that_are_kept_are_bounded() -> None:
    rig = Rig()
    for number in range(MOST + 5):
        rig.connection.data_received(request(headers=b"User-Agent: %d\r\n" % number))
    assert known(rig) == 5
