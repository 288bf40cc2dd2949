"""A small load client: keep-alive connections that ask one thing after the other, and take notes.

```
with Load("127.0.0.1:8080", bodies, connections=4, pause=0.01) as load:
    ...                       # publish something meanwhile
print(load.report.summary())
```

It runs on a thread of its own. `bodies` are asked round and round; each note says which one it
was, what status came back, and which version and revision answered. A connection that breaks is a
failure, is noted, and is opened again.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import statistics
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

#: Seconds in which an answer must come.
PATIENCE = 60.0


@dataclass(frozen=True)
class Note:
    """One answer. `status` 0 is a broken connection, `text` then says how it broke."""

    connection: int
    request: int
    status: int
    version: str
    revision: int
    text: str
    seconds: float

    @property
    def body(self) -> Any:
        """The answer's JSON."""
        return json.loads(self.text)


@dataclass
class Report:
    """Every note, in the order in which answers came."""

    notes: list[Note] = field(default_factory=list)

    @property
    def failed(self) -> list[Note]:
        """What was not answered with 200."""
        return [note for note in self.notes if note.status != 200]

    @property
    def versions(self) -> list[str]:
        """Versions in the order of their first answer."""
        return list(dict.fromkeys(note.version for note in self.notes if note.status == 200))

    def revisions(self, connection: int) -> list[int]:
        """The revisions that one connection saw, repetitions left out."""
        seen = [n.revision for n in self.notes if n.connection == connection and n.status == 200]
        return [r for i, r in enumerate(seen) if i == 0 or r != seen[i - 1]]

    def summary(self) -> dict[str, Any]:
        """Numbers to print."""
        times = [note.seconds * 1e3 for note in self.notes if note.status == 200]
        cuts = statistics.quantiles(times, n=100) if len(times) > 1 else [0.0] * 99
        return {
            "answered": len(times),
            "failed": len(self.failed),
            "versions": self.versions,
            "p50_ms": round(cuts[49], 3),
            "p99_ms": round(cuts[98], 3),
        }


class Load:
    """Ask `bodies` over `connections` kept connections until the block ends, or `limit` notes."""

    def __init__(
        self,
        address: str,
        bodies: Sequence[bytes],
        *,
        path: str = "/invocations",
        connections: int = 4,
        pause: float = 0.0,
        limit: int = 1_000_000,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        host, _, port = address.rpartition(":")
        self.report = Report()
        self._host, self._port = host.strip("[]"), int(port)
        self._requests = [_request(path, address, body, headers or {}) for body in bodies]
        self._connections = connections
        self._pause = pause
        self._limit = limit
        self._tls = tls
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def wait(self, answers: int) -> None:
        """Wait until so many more answers came."""
        enough = len(self.report.notes) + answers
        deadline = time.monotonic() + PATIENCE
        while len(self.report.notes) < enough and time.monotonic() < deadline:
            time.sleep(0.005)

    def _run(self) -> None:
        asyncio.run(self._ask_all())

    async def _ask_all(self) -> None:
        await asyncio.gather(*(self._keep_asking(number) for number in range(self._connections)))

    async def _keep_asking(self, connection: int) -> None:
        """One client: a broken connection is noted and replaced."""
        number = connection
        while not self._done():
            begun = time.monotonic()
            try:
                reader, writer = await asyncio.open_connection(
                    self._host, self._port, ssl=self._tls
                )
                try:
                    while not self._done():
                        number += 1
                        begun = time.monotonic()
                        async with asyncio.timeout(PATIENCE):
                            kept = await self._ask(reader, writer, connection, number)
                        if not kept:
                            break
                        if self._pause:
                            await asyncio.sleep(self._pause)
                finally:
                    # A farewell over TLS would need the loop to go on.
                    writer.transport.abort() if self._tls else writer.close()
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                seconds = time.monotonic() - begun
                asked = number % len(self._requests)
                self.report.notes.append(Note(connection, asked, 0, "", 0, repr(error), seconds))
                await asyncio.sleep(0.05)

    def _done(self) -> bool:
        return self._stopped.is_set() or len(self.report.notes) >= self._limit

    async def _ask(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        connection: int,
        number: int,
    ) -> bool:
        """Ask once and take a note; returns whether the connection stays open."""
        asked = number % len(self._requests)
        begun = time.monotonic()
        writer.write(self._requests[asked])
        status, headers, body = await read_answer(reader)
        note = Note(
            connection,
            asked,
            status,
            headers.get("x-model-version", ""),
            int(headers.get("x-model-revision", "0")),
            body.decode(),
            time.monotonic() - begun,
        )
        self.report.notes.append(note)
        return headers.get("connection") != "close"


def _request(path: str, host: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    own = {"host": host, "content-length": str(len(body)), **headers}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in own.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (lower case) and body of the next answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return int(head[0].split()[1]), headers, body
