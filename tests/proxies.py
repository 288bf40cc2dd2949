"""HTTP servers of tests that stand between a client and its store, or in its place."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: Asked with method and path before the reply is sent; true swallows the reply.
Swallow = Callable[[str, str], bool]


@contextlib.contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Run a server of `handler` on a free loopback port; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Quiet(BaseHTTPRequestHandler):
    """Logs nothing; closes each connection after its answer."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (of the base class)
        pass

    def body(self) -> bytes:
        """What the client sent along."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def reply(self, status: int, data: bytes = b"", **headers: str) -> None:
        """Send `data` as the answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)


class _Deaf(Quiet):
    """Takes every object, whatever the condition: `If-None-Match` means nothing to it."""

    def do_PUT(self) -> None:
        self.body()
        self.reply(200, ETag='"0"')


@contextlib.contextmanager
def deaf_server() -> Iterator[str]:
    """An S3 server that ignores conditional writes, as some real ones do."""
    with serving(_Deaf) as address:
        yield address


@contextlib.contextmanager
def lossy_proxy(port: int, swallow: Swallow) -> Iterator[tuple[str, Counter[str]]]:
    """A proxy before the server at loopback `port` that loses replies.

    The request arrives and is carried out; where `swallow` says so, the connection is closed
    instead of passing the reply on. Yields its address, and counts of "passed" and "lost".
    """
    counts: Counter[str] = Counter()

    class Proxy(Quiet):
        def do_any(self) -> None:
            status, headers, data = self._ask()
            lost = swallow(self.command, self.path)
            counts["lost" if lost else "passed"] += 1
            if not lost:
                self._pass_on(status, headers, data)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = do_any  # noqa: N815 (of the base class)

        def _ask(self) -> tuple[int, list[tuple[str, str]], bytes]:
            upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            # The client signed its headers: they must arrive as they were sent.
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders(self.body())
            answer = upstream.getresponse()
            data = answer.read()
            upstream.close()
            return answer.status, answer.getheaders(), data

        def _pass_on(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(data)

    with serving(Proxy) as address:
        yield address, counts


@contextlib.contextmanager
def cutting_proxy(
    port: int, after: int, cut: Callable[[], object]
) -> Iterator[tuple[str, Callable[[], int]]]:
    """A proxy before the server at loopback `port` that ends it in the middle of a request.

    Bytes go through as they come. Once clients have sent `after` of them, `cut` is called, once,
    and no connection is served any more. Yields its address, and how many bytes were let through.
    """
    proxy = _Cutting(port, after, cut)
    proxy.start()
    try:
        yield proxy.address, lambda: proxy.passed
    finally:
        proxy.close()


class _Cutting:
    def __init__(self, port: int, after: int, cut: Callable[[], object]) -> None:
        self._port = port
        self._after = after
        self._cut = cut
        self.passed = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def start(self) -> None:
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def close(self) -> None:
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            if self._ended.is_set():
                return
            with socket.create_connection(("127.0.0.1", self._port)) as server:
                back = threading.Thread(target=self._forward, args=(server, client, False))
                back.start()
                self._forward(client, server, True)
                back.join()

    def _forward(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while (data := source.recv(1 << 16)) and self._let_through(len(data) * counted):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _let_through(self, count: int) -> bool:
        with self._lock:
            self.passed += count
            if self.passed >= self._after and not self._ended.is_set():
                self._ended.set()
                self._cut()
        return not self._ended.is_set()
