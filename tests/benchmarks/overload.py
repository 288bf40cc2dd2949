"""Overload: five times what a slow model can do, asked by clients that do not wait for one another.

`python -m tests.benchmarks.overload [PEERS] [--seconds 20] [--batch-ms 20]`. A real service with two
workers whose model sleeps for each batch. The generator is an open loop: requests leave at random
(Poisson) moments whatever is answered, each on a connection that is free. Times run from the last
byte of a request to the last of its answer, as this process sees them.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.serving.conftest import BODIES
from tests.serving.moody import ENVIRONMENT, moody
from tests.serving.rig import Publisher, service

WORKERS, BATCH, FACTOR = 2, 4, 5


def main() -> int:
    """Measure and print; judges nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers", nargs="?", help="not used")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--batch-ms", type=float, default=20.0)
    words = parser.parse_args()
    capacity = WORKERS * BATCH / words.batch_ms * 1e3
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        publisher = Publisher(Path(name))
        publisher.environment.update(ENVIRONMENT)
        bundle = moody(Path(name) / "slow", 1.0, mood="slow", seconds=words.batch_ms / 1e3)
        publisher.publish("flights", bundle)
        limits: dict[str, Any] = {
            "serving_workers": WORKERS, "serving_max_batch_size": BATCH,
            "serving_max_queue_wait_ms": 1.5 * words.batch_ms,
        }  # fmt: skip
        with service(publisher, Path(name) / "service", "flights", **limits) as running:
            for rate in (capacity / 40, capacity / 2, FACTOR * capacity):
                told = asyncio.run(Generator(running.address, rate).run(words.seconds))
                print(
                    f"  {rate / capacity:5.3g} x capacity, {rate:.0f} requests/s: {told}",
                    flush=True,
                )
    return 0


class Generator:
    """Sends `rate` requests a second to `address`, host:port."""

    def __init__(self, address: str, rate: float) -> None:
        self._host, _, self._port = address.rpartition(":")
        self._rate = rate
        body = BODIES[0]
        head = (
            f"POST /invocations HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
        )
        self._request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self._free: list[Client] = []
        self.times: dict[int, list[float]] = {}

    async def run(self, seconds: float) -> str:
        """What came back, in words."""
        drawn = random.Random(1)
        begun = due = time.monotonic()
        clients, late = [], 0
        while due - begun < seconds:
            due += drawn.expovariate(self._rate)
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            elif wait < -0.05:
                late += 1
            if not self._free:
                clients.append(await self._connect())
            self._free.pop().ask(self._request)
        await asyncio.sleep(2)
        for client in clients:
            client.close()
        lateness = f"; {late} left over 50 ms late" if late else ""
        return f"{self._words()}; {len(clients)} connections{lateness}"

    async def _connect(self) -> Client:
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: Client(self), self._host, int(self._port))
        self._free.append(client)
        return client

    def answered(self, client: Client, status: int, seconds: float) -> None:
        """An answer came; its connection is free."""
        self.times.setdefault(status, []).append(seconds)
        self._free.append(client)

    def _words(self) -> str:
        return "; ".join(_row(status, found) for status, found in sorted(self.times.items()))


class Client(asyncio.Protocol):
    """One kept connection."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._sent = 0.0
        self._received = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def ask(self, request: bytes) -> None:
        """Send; loopback takes the few hundred bytes at once."""
        self._transport.write(request)
        self._sent = time.monotonic()

    def data_received(self, data: bytes) -> None:
        """Note the answer once it is whole."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.lower().partition(b"content-length:")[2].split()[0]):
            self._received = b""
            self._generator.answered(self, int(head[9:12]), time.monotonic() - self._sent)

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


def _row(status: int, seconds: list[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100) if len(seconds) > 1 else seconds * 99
    return f"{len(seconds)} × {status}: p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms"


if __name__ == "__main__":
    raise SystemExit(main())
