"""Requests that are nearly right: what a fuzz campaign sends, and what it may get back.

Two kinds. *Content*: the framing is right and the body is not, so each is answered once; a canary
behind each on the same connection must be answered as itself. *Framing*: the head or the chunks
are wrong, and the body holds a whole request of its own (the stowaway). h11, which shares no code
with the service, says which requests such bytes hold; the service may refuse more than it does, but
must never answer a stowaway that h11 sees as somebody's body.
"""

from __future__ import annotations

import json
import random
import re
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import h11

INFER = "/v2/models/flights/infer"
INVOCATIONS = "/invocations"
HEADER = "Inference-Header-Content-Length"
#: Answers that a wrong request may get; anything else, above all a 500, is a finding.
ALLOWED = frozenset([200, 400, 404, 405, 408, 413, 415, 431, 504])


@dataclass
class Request:
    """A request before it is spoilt."""

    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"

    def encode(self, length: int | None = None) -> bytes:
        """Its bytes; `length` lies about the body's."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "host: x"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines.append(f"content-length: {len(self.body) if length is None else length}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + self.body


ROW = {"distance": 0.5, "hour": 3, "carrier": "DL"}
_KINDS = {"distance": ("FP64", "<d"), "hour": ("INT64", "<q")}


def infer(name: str, rows: int = 2) -> Request:
    """A valid inference request that is answered with `name` as its id."""
    columns = {key: [value] * rows for key, value in ROW.items()}
    tensors = [
        {"name": "distance", "shape": [rows], "datatype": "FP64", "data": columns["distance"]},
        {"name": "hour", "shape": [rows, 1], "datatype": "INT64", "data": columns["hour"]},
        {"name": "carrier", "shape": [rows], "datatype": "BYTES", "data": columns["carrier"]},
    ]
    parameters = {"timeout": 30_000_000, "priority": 1}
    outputs = [{"name": "probability", "parameters": {"binary_data": False}}]
    content = {"id": name, "inputs": tensors, "parameters": parameters, "outputs": outputs}
    return Request(INFER, json.dumps(content).encode())


def binary(name: str, rows: int = 2) -> Request:
    """The same with binary tensors, in and out."""
    data = [
        struct.pack(f"<{rows}d", *[0.5] * rows),
        struct.pack(f"<{rows}q", *[3] * rows),
        (struct.pack("<I", 2) + b"DL") * rows,
    ]
    tensors = [
        {"name": key, "shape": [rows], "datatype": kind,
         "parameters": {"binary_data_size": len(each)}}
        for (key, kind), each in zip(
            (("distance", "FP64"), ("hour", "INT64"), ("carrier", "BYTES")), data, strict=True
        )
    ]  # fmt: skip
    content = {"id": name, "inputs": tensors, "parameters": {"binary_data_output": True}}
    head = json.dumps(content).encode()
    return Request(INFER, head + b"".join(data), {HEADER: str(len(head))})


def invocation(choose: random.Random) -> Request:
    """One of MLflow's JSON forms."""
    names = list(ROW)
    rows = [list(ROW.values())] * 2
    forms: list[dict[str, Any]] = [
        {"dataframe_split": {"columns": names, "index": [0, 1], "data": rows}},
        {"dataframe_records": [ROW, ROW]},
        {"instances": rows, "params": {"x": 1}},
        {"inputs": {name: [value, value] for name, value in ROW.items()}},
    ]
    body = json.dumps(choose.choice(forms)).encode()
    return Request(INVOCATIONS, body, {"Content-Type": "application/json"})


def csv() -> Request:
    """MLflow's CSV form."""
    body = b'distance,hour,carrier\r\n0.5,3,"DL"\r\n,,\r\n1e3,4.0,AA\r\n'
    return Request(INVOCATIONS, body, {"Content-Type": "text/csv; charset=utf-8"})


# spoiling bodies ------------------------------------------------------------------------------

_WORDS = [
    b"", b"null", b"NaN", b"-0", b"1e999", b"9" * 400, b"18446744073709551616", b"[" * 50, b"{}",
    b'"', b"\\u0000", b"\\ud800", b"\xff", b"\x00", b",", b"\n", b"true", b"-1", b"4294967295",
    b"1e308", b'{"a":' * 20, b"FP16", b"BOOL", b"BYTES", b"'", b'""', b"\xef\xbb\xbf", b"2147483648",
]  # fmt: skip


def _flip(body: bytearray, choose: random.Random) -> None:
    at = choose.randrange(len(body))
    body[at] ^= 1 << choose.randrange(8)


def _cut(body: bytearray, choose: random.Random) -> None:
    del body[choose.randrange(len(body)) :]


def _remove(body: bytearray, choose: random.Random) -> None:
    at = choose.randrange(len(body))
    del body[at : at + choose.randint(1, 8)]


def _insert(body: bytearray, choose: random.Random) -> None:
    at = choose.randrange(len(body))
    body[at:at] = choose.choice(_WORDS)


def _repeat(body: bytearray, choose: random.Random) -> None:
    at = choose.randrange(len(body))
    body[at:at] = body[at : at + choose.randint(1, 40)] * choose.randint(1, 20)


def _replace_number(body: bytearray, choose: random.Random) -> None:
    numbers = list(re.finditer(rb"\d+", body))
    if numbers:
        start, stop = choose.choice(numbers).span()
        body[start:stop] = choose.choice(_WORDS)


_SPOILERS: list[Callable[[bytearray, random.Random], None]] = [
    _flip, _flip, _cut, _remove, _insert, _insert, _repeat, _replace_number,
]  # fmt: skip
_LENGTHS = ["0", "-1", "1", "999999999", "18446744073709551617", "0x10", "1, 2", "", "+5", "٣"]
_TYPES = ["text/csv", "application/json", "text/csv;charset=utf-16", ";;;", "text/xml", "\xff"]
_CODINGS = ["gzip", "deflate", "br", "gzip, gzip", "identity"]


def spoil(body: bytes, choose: random.Random) -> bytes:
    """`body`, changed in up to three places."""
    changed = bytearray(body)
    for _ in range(choose.choice([0, 1, 1, 2, 3])):
        if changed:
            choose.choice(_SPOILERS)(changed, choose)
    return bytes(changed)


def spoilt_content(choose: random.Random, name: str) -> bytes:
    """A request in right framing whose body or content headers were changed somewhere."""
    kind = choose.randrange(4)
    request = (infer(name), binary(name), invocation(choose), csv())[kind]
    request.body = body = spoil(request.body, choose)
    if choose.random() < 0.15:
        request.headers[HEADER] = choose.choice([*_LENGTHS, str(choose.randrange(len(body) + 2))])
    if choose.random() < 0.1:
        request.headers["Content-Type"] = choose.choice(_TYPES)
    if choose.random() < 0.05:
        request.headers["Content-Encoding"] = choose.choice(_CODINGS)
    if choose.random() < 0.05:
        request.path = choose.choice(_PATHS)
    return request.encode()


_PATHS = [
    "/v2/repository/index", "/v2/repository/models/flights/unload", "/v2/models/%66lights/infer",
    "/v2/models/flights/versions/9/infer", "/v2/models//infer", "/v2/models/%ff%00/infer",
    "/invocations/", "/v2/models/flights/infer?x=%", "/v2/models/stats", "//", "/v2/repository/x",
    "/v2/models/flights/versions/1/infer", "/invocations;x",
]  # fmt: skip


# spoiling framing -----------------------------------------------------------------------------

_LINES = [
    b"transfer-encoding: chunked", b"transfer-encoding: identity", b"transfer-encoding : chunked",
    b"transfer-encoding: chunked, chunked", b"transfer-encoding: xchunked", b"content-length: 0",
    b"content-length: 3", b"content-length: +3", b"content-length: 3, 3", b"content-length: 0x3",
    b" folded", b"\tfolded: yes", b"host: y", b"x: \x00", b"x\x00y: z", b": empty", b"no colon",
    b"content-length:", b"connection: close", b"expect: 100-continue", b"connection: upgrade",
    b"upgrade: websocket", b"transfer-encoding: \x0bchunked", b"content-length: 3\r", b"x: \xff\xfe",
    b"trailer: content-length", b"te: trailers", b"content-length : 3", b"x:y\nhost: z",
]  # fmt: skip
_ENDS = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\x0b\r\n", b""]
_STARTS = [
    b"GET / HTTP/1.1", b"POST /invocations HTTP/1.0", b"POST /invocations HTTP/2.0", b"POST  /x  HTTP/1.1",
    b"post / HTTP/1.1", b"GET http://x/v2 HTTP/1.1", b"CONNECT x:1 HTTP/1.1", b"GET /\x00 HTTP/1.1",
    b"GET / HTTP/1.1 ", b"GET /", b"PRI * HTTP/2.0", b"OPTIONS * HTTP/1.1", b"\r\n\r\nGET /v2 HTTP/1.1",
]  # fmt: skip
_SIZES = [
    b"%x", b"%X", b"0%x", b"%x;a=b", b"%x ", b" %x", b"+%x", b"0x%x", b"-%x", b"%x\x00", b"%x;\n",
]  # fmt: skip


def spoilt_framing(choose: random.Random, name: str) -> bytes:
    """A request whose head or chunks were changed, with a stowaway in its body; then a canary."""
    stowaway = infer(f"stowaway-{name}", 1).encode()
    outer = Request(INFER, stowaway)
    data = _chunked(outer, choose) if choose.random() < 0.4 else outer.encode(_lie(outer, choose))
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    for _ in range(choose.choice([0, 1, 1, 2])):
        lines.insert(choose.randint(1, len(lines)), choose.choice(_LINES))
    if choose.random() < 0.15:
        lines[0] = choose.choice(_STARTS)
    ends = [b"\r\n"] * len(lines)
    if choose.random() < 0.2:
        ends[choose.randrange(len(ends))] = choose.choice(_ENDS)
    spoilt = bytearray(b"".join(map(b"".join, zip(lines, ends, strict=True))) + b"\r\n")
    if choose.random() < 0.2:
        choose.choice(_SPOILERS)(spoilt, choose)
    return bytes(spoilt) + body + infer(f"canary-{name}", 1).encode()


def _lie(request: Request, choose: random.Random) -> int:
    """Mostly the length of the body."""
    length = len(request.body)
    return choose.choice([length] * 6 + [0, length - 1, length + 1, length // 2])


def _chunked(request: Request, choose: random.Random) -> bytes:
    """The request in chunks, of which one size may be written oddly."""
    body, at, chunks = request.body, 0, b""
    while at < len(body):
        piece = body[at : at + choose.randint(1, 400)]
        style = choose.choice(_SIZES) if choose.random() < 0.15 else b"%x"
        chunks += style % len(piece) + b"\r\n" + piece + b"\r\n"
        at += len(piece)
    last = choose.choice(
        [b"0\r\n\r\n"] * 5 + [b"0\r\nx: y\r\n\r\n", b"0\r\ncontent-length: 9\r\n\r\n"]
    )
    head = (
        f"{request.method} {request.path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    return head.encode() + chunks + last


def seen_by_h11(data: bytes) -> list[str]:
    """Ids of the inference requests that h11 finds in `data`, until it refuses or would close."""
    ids: list[str] = []
    while data:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(_strictly_begun(data))
        connection.receive_data(b"")
        try:
            ids += re.findall(r'^\{"id": "([^"]*)"', _body(connection).decode("latin-1"))
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            connection.start_next_cycle()
        except h11.ProtocolError:
            break
        data = connection.trailing_data[0]
    return ids


def _strictly_begun(data: bytes) -> bytes:
    """`data`, a request, begun as h11 wants it.

    h11 is stricter than RFC 9112 about what comes before the headers, of each request of a
    connection: a server may skip empty lines (2.2), and may part the first line at any white
    space (3). Neither moves a body.
    """
    first, end, rest = data.lstrip(b"\r\n").partition(b"\r\n")
    return b" ".join(filter(None, first.split(b" "))).strip() + end + rest


def _body(connection: h11.Connection) -> bytes:
    """The body of the next request. Raises h11.ProtocolError if there is no whole request."""
    body = b""
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Data):
            body += event.data
        elif not isinstance(event, h11.Request):
            raise h11.RemoteProtocolError(f"no request: {event}")
    return body


# answers --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """One answer: its status, and its body."""

    status: int
    body: bytes

    @property
    def id(self) -> str:
        """The id that it echoes, or ""."""
        found = re.search(rb'"id":"([^"]*)"', self.body)
        return found[1].decode("latin-1") if found else ""


_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")


def answers_in(data: bytes) -> Iterator[Answer]:
    """The answers in what a connection sent. Raises ValueError if that is not a row of answers."""
    at = 0
    while at < len(data):
        head = _HEAD.match(data, at)
        if head is None:
            raise ValueError(f"no answer at byte {at}: {data[at : at + 200]!r}")
        at = head.end()
        if head[1] == b"100":
            continue
        length = re.search(rb"(?i)content-length: (\d+)", head[2])
        size = int(length[1]) if length else 0
        if at + size > len(data):
            raise ValueError("the last answer is not complete")
        yield Answer(int(head[1]), data[at : at + size])
        at += size


def exchange(address: str, data: bytes, patience: float) -> bytes:
    """Send `data` on a connection of its own and read until the service closes it.

    Raises:
        TimeoutError: it neither answers nor closes within `patience` seconds.
    """
    host, _, port = address.rpartition(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=patience) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(1 << 16):
                received += piece
        except (ConnectionResetError, BrokenPipeError):
            # It had refused and gone before everything was sent.
            pass
    return received
