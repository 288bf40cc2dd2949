"""A place that events can be sent to: a real HTTP server that keeps what Sentry's library sends."""

from __future__ import annotations

import gzip
import importlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What the library may have done to a body; it likes Brotli better where that is installed.
UNPACK: dict[str | None, Callable[[bytes], bytes]] = {
    None: bytes,
    "gzip": gzip.decompress,
    "br": lambda body: importlib.import_module("brotli").decompress(body),
}
KEY = "canary0dsn0key0123456789abcdef01"


class Sentry:
    """What arrived, as bytes and as events."""

    def __init__(self, port: int) -> None:
        self.dsn = f"http://{KEY}@127.0.0.1:{port}/7"
        self.bodies: list[bytes] = []
        self.paths: list[str] = []

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of all envelopes: a line of headers, then header and payload of each item."""
        found = []
        for body in list(self.bodies):
            lines = body.split(b"\n")
            for header, payload in zip(lines[1::2], lines[2::2], strict=False):
                if json.loads(header)["type"] == "event":
                    found.append(json.loads(payload))
        return found

    def told(self, text: str) -> list[dict[str, Any]]:
        """The events whose message is `text`."""
        return [event for event in self.events if event["logentry"]["formatted"] == text]


@contextmanager
def sentry() -> Iterator[Sentry]:
    """A server on the loopback until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            kept.paths.append(self.path)
            kept.bodies.append(UNPACK[self.headers["content-encoding"]](body))
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept = Sentry(server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield kept
        finally:
            server.shutdown()
            thread.join()
