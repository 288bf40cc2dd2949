"""The access log: one line of JSON for an answer, of a sample of them. Off unless it is asked for.

Lines carry the names of the Elastic Common Schema. They are made without structlog, which takes ten
times as long, and never wait: what standard error does not take at once is dropped and counted.
"""

from __future__ import annotations

import asyncio
import os
import random
import select
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from registry.ecs import VERSION
from serving.gateway import trace
from serving.gateway.metrics import Metrics

#: Bytes that a pipe takes whole or not at all, and seconds that lines wait for company.
WHOLE, COMPANY = 4096, 0.2
_encode = msgspec.json.Encoder().encode


class Asked(Protocol):
    """What is asked of a gateway, as a line tells of it: an exchange of HTTP, or a call of gRPC."""

    method: bytes
    path: str
    client: str
    served: Any

    @property
    def names(self) -> bytes:
        """Its request id and trace, as whole header lines."""


#: Told that something was answered: a status of HTTP, and bytes of the body.
Note = Callable[[Any, int, int], None]


class AccessLog:
    """Logs a `share` (0 to 1) of the answers, and every one with a status of 500 or more."""

    def __init__(self, share: float, metrics: Metrics, out: int = 2) -> None:
        self.share = share
        self._metrics = metrics
        self._out = out
        self._lines: list[bytes] = []
        self._poll = select.poll()
        self._poll.register(out, select.POLLOUT)

    def watch(self) -> Note:
        """What to tell of the answer to what was asked now; a line is written if chance wills it."""
        begun, chosen = time.monotonic_ns(), random.random() < self.share

        def note(asked: Asked, status: int, length: int) -> None:
            if chosen or status >= 500:
                self._take(_line(asked, status, length, time.monotonic_ns() - begun))

        return note

    def _take(self, line: bytes) -> None:
        if not self._lines:
            asyncio.get_running_loop().call_later(COMPANY, self.flush)
        self._lines.append(line[: WHOLE - 1])

    def flush(self) -> None:
        """Write what there is, as much as is taken without waiting."""
        lines, self._lines = self._lines, []
        while lines:
            size = count = 0
            while count < len(lines) and size + len(lines[count]) < WHOLE:
                size += len(lines[count]) + 1
                count += 1
            if not any(events & select.POLLOUT for _, events in self._poll.poll(0)):
                self._metrics.add("log_dropped_total", len(lines), ())
                return
            os.write(self._out, b"\n".join([*lines[:count], b""]))
            del lines[:count]


def _line(asked: Asked, status: int, length: int, duration: int) -> bytes:
    names = trace.fields(asked.names)
    line: dict[str, Any] = {
        "@timestamp": datetime.now(UTC).isoformat(timespec="microseconds"),
        "log.level": "info" if status < 500 else "error",
        "message": "answered",
        "ecs.version": VERSION,
        "event.dataset": "penstock.access",
        "event.duration": duration,
        "http.request.id": names["request"],
        "http.request.method": asked.method.decode("latin-1"),
        "http.response.status_code": status,
        "http.response.body.bytes": length,
        "url.path": asked.path[:512],
        "trace.id": names["trace"],
        "span.id": names["span"],
    }
    if asked.client:
        line["user.name"] = asked.client
    if asked.served is not None:
        line |= asked.served.log_fields
    return _encode(line)
