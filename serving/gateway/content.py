"""The content of a request: what its headers say of the body, and the body as it was meant.

An inflated body counts against the same limit as a plain one, and nothing is inflated beyond it.
Answers are never compressed: see decision 17.
"""

from __future__ import annotations

import zlib

from serving.errors import BodyTooLarge, RequestError, UnsupportedMedia
from serving.gateway.exchange import Exchange

#: zlib's window bits: a gzip member, or a zlib stream, which is what HTTP calls "deflate".
_WINDOWS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}


def unpack(exchange: Exchange, limit: int) -> None:
    """Replace a compressed body by what it holds, at most `limit` bytes.

    Raises:
        UnsupportedMedia: a coding other than gzip and deflate, or several.
        BodyTooLarge: it holds more than `limit` bytes.
        RequestError: it is damaged.
    """
    coding = exchange.headers.get(b"content-encoding", b"identity").strip().lower()
    if coding in (b"identity", b""):
        return
    window = _WINDOWS.get(coding)
    if window is None:
        raise UnsupportedMedia(
            "the body is compressed in a way that is not read here",
            "gzip, deflate and identity are",
        )
    exchange.body = _inflate(exchange.body, window, limit)


def _inflate(body: bytes | bytearray, window: int, limit: int) -> bytes:
    inflater = zlib.decompressobj(window)
    try:
        content = inflater.decompress(body, limit + 1)
    except zlib.error:
        raise RequestError("the compressed body is damaged") from None
    if len(content) > limit:
        raise BodyTooLarge(f"the body exceeds {limit} bytes when it is inflated")
    if not inflater.eof or inflater.unused_data:
        raise RequestError("the compressed body is damaged", "it must be one whole stream")
    return content


def media_type(exchange: Exchange) -> str:
    """The type in `Content-Type`, "" if there is none.

    Raises:
        UnsupportedMedia: its charset is not UTF-8, or it has another parameter.
    """
    header = exchange.headers.get(b"content-type", b"").decode("latin-1").lower()
    kind, _, rest = header.partition(";")
    for parameter in filter(None, map(str.strip, rest.split(";"))):
        name, _, value = parameter.partition("=")
        if name.strip() != "charset" or value.strip().strip('"') not in ("utf-8", "utf8"):
            raise UnsupportedMedia(f"Content-Type has {parameter[:80]!r}", "only UTF-8 is read")
    return kind.strip()
