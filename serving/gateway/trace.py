"""Who asked what: the request id, and the trace of which a request is a part.

A well-formed `x-request-id` is taken over, another is replaced; so is a `traceparent` that does not
follow https://www.w3.org/TR/trace-context/. Both are in every answer and in the lines of the log.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from random import getrandbits

REQUEST_ID, TRACEPARENT = b"x-request-id", b"traceparent"
#: Nothing that a log, a shell or a page could take for more than a name.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@~-]{1,128}")
_TRACEPARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?"
)


_ID, _PARENT, _END = b"x-request-id: ", b"\r\ntraceparent: 00-", b"-00\r\n"


class _Source:
    """Names of requests that bring none: a random half for the process, and a count."""

    def __init__(self) -> None:
        self.draw()

    def draw(self) -> None:
        """Begin anew: processes that were forked from one must not count alike."""
        half = b"%016x" % getrandbits(64)
        self.count = itertools.count(getrandbits(62) + 1).__next__
        self.request_id, self.parent = _ID + half, _PARENT + half


_source = _Source()
os.register_at_fork(after_in_child=_source.draw)


def name(given: Mapping[bytes, bytes]) -> bytes:
    """The names of a request as two whole header lines.

    `given` are headers of the request by names in lower case. Each call makes another span.
    """
    named = REQUEST_ID in given or TRACEPARENT in given
    return _taken(given, fresh()) if named else fresh()


def fresh() -> bytes:
    """The names of a request that brings none."""
    count = b"%016x" % _source.count()
    # Pieces are put together in half the time that a format takes.
    return b"".join((_source.request_id, count, _source.parent, count, b"-", count, _END))


def _taken(given: Mapping[bytes, bytes], fresh: bytes) -> bytes:
    """`fresh`, with the names that the client gave where they can be used."""
    request, parent = (line.partition(b": ")[2] for line in fresh.splitlines())
    if trace := _parse(given.get(TRACEPARENT, b"")):
        request, flags = trace
        parent = b"00-%b-%b-%b" % (request, parent[36:52], flags)
    asked = given.get(REQUEST_ID, b"")
    if _REQUEST_ID.fullmatch(asked):
        request = asked
    return b"%b%b\r\ntraceparent: %b\r\n" % (_ID, request, parent)


def fields(names: bytes) -> dict[str, str]:
    """What a line of the log says of a request."""
    request, parent = (line.partition(": ")[2] for line in names.decode().splitlines())
    return {"request": request, "trace": parent[3:35], "span": parent[36:52]}


def _parse(text: bytes) -> tuple[bytes, bytes] | None:
    """Trace id and flags; None if they cannot be trusted. Later versions may add fields."""
    match = _TRACEPARENT.fullmatch(text)
    if match is None or (match[1] == b"00" and match[4]):
        return None
    # Of the flags only "sampled" has a meaning in all versions.
    return match[2], b"%02x" % (int(match[3], 16) & 1)
