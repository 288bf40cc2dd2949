"""An open loop: clients that do not wait for one another, on kept connections to one service."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: Seconds after the last request in which answers may still come.
REST = 2.0


@dataclass(frozen=True)
class Answer:
    """Status, the moment at which the last byte of the request left, and seconds from then on."""

    status: int
    sent: float
    seconds: float
    body: bytes


class Generator:
    """Posts `bodies`, round and round, to `path` at `address`, host:port. Keeps what came back."""

    def __init__(self, address: str, path: str, bodies: Sequence[bytes]) -> None:
        self._host, _, self._port = address.rpartition(":")
        head = f"POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
        requests = [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]
        self._requests = itertools.cycle(requests)
        self._free: list[_Client] = []
        self._again = False
        self.clients: list[_Client] = []
        self.answers: list[Answer] = []
        #: Requests that left over 50 ms after they should have.
        self.late = 0

    async def run(self, rate: float, seconds: float) -> None:
        """Ask `rate` times a second, at moments drawn at random, whatever is answered."""
        drawn = random.Random(1)
        begun = due = time.monotonic()
        while due - begun < seconds:
            due += drawn.expovariate(rate)
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            elif wait < -0.05:
                self.late += 1
            if not self._free:
                await self._connect()
            self._free.pop().ask(next(self._requests))
        await self._close()

    async def saturate(self, connections: int, seconds: float) -> float:
        """Ask on so many connections without a pause; answers a second."""
        self._again = True
        for _ in range(connections):
            await self._connect()
        for client in self.clients:
            client.ask(next(self._requests))
        await asyncio.sleep(seconds)
        rate = len(self.answers) / seconds
        self._again = False
        await self._close()
        return rate

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: _Client(self), self._host, int(self._port))
        self.clients.append(client)
        self._free.append(client)

    async def _close(self) -> None:
        await asyncio.sleep(REST)
        for client in self.clients:
            client.close()

    def answered(self, client: _Client, answer: Answer) -> None:
        """An answer came; its connection is free."""
        self.answers.append(answer)
        if self._again:
            client.ask(next(self._requests))
        else:
            self._free.append(client)


class _Client(asyncio.Protocol):
    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._sent = 0.0
        self._received = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self, request: bytes) -> None:
        """Send; loopback takes some thousand bytes at once."""
        self._transport.write(request)
        self._sent = time.monotonic()

    def data_received(self, data: bytes) -> None:
        """Note the answer once it is whole."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.lower().partition(b"content-length:")[2].split()[0]):
            self._received = b""
            seconds = time.monotonic() - self._sent
            self._generator.answered(self, Answer(int(head[9:12]), self._sent, seconds, body))

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


def ask(
    address: str, path: str, bodies: Sequence[bytes], rate: float, seconds: float
) -> tuple[list[Answer], int]:
    """All that came back of a run, and how many requests left late. For a process of its own."""
    gc.disable()  # it would hold the load up, the longer the more has come back
    generator = Generator(address, path, bodies)
    asyncio.run(generator.run(rate, seconds))
    return generator.answers, generator.late


def saturate(
    address: str, path: str, bodies: Sequence[bytes], connections: int, seconds: float
) -> float:
    """`Generator.saturate`, for a process of its own."""
    return asyncio.run(Generator(address, path, bodies).saturate(connections, seconds))
