"""The gateway process: puts its parts together and obeys the supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

import uvloop

from registry.errors import PenstockError
from registry.logs import configure, get_logger
from serving.channel import Channel
from serving.descriptors import make_room
from serving.errors import ChildDied
from serving.gateway.catalog import Catalog
from serving.gateway.dispatch import Dispatcher
from serving.gateway.doorkeeper import Doorkeeper
from serving.gateway.metrics import Metrics
from serving.gateway.parts import Entrance, Parts
from serving.gateway.sampler import Sampler
from serving.gateway.scraping import Scraping
from serving.gateway.served import Served, labels_of
from serving.gateway.state import State
from serving.gateway.web import http_server
from serving.link import GatewayEnd
from serving.messages import (
    Activate,
    Activated,
    Announce,
    Announced,
    Check,
    Close,
    Connect,
    Drain,
    Failed,
    Hung,
    Message,
    Notice,
    Open,
    Retire,
    Retired,
    Scraped,
    Start,
    Suspend,
    Tick,
    ToGateway,
    Tokens,
    Tried,
    decoder,
)
from serving.payloads import PayloadMemory

log = get_logger(__name__)
_decode = decoder(ToGateway).decode

#: Seconds between two looks at the deadlines of requests, and at slow clients.
EXPIRE_EVERY = 0.05
LOOK_EVERY = 1.0
#: Seconds without a sign of the supervisor after which the gateway says that it is not live.
SILENCE = 30.0
#: Descriptors besides those of connections: links to the workers of each generation, three for each.
SPARE = 1024


def main(channel: Channel) -> None:
    """Be a gateway that speaks HTTP until the supervisor says Close or goes away."""
    run(channel, http_server)


def run(channel: Channel, enter: Callable[[Parts], Entrance]) -> None:
    """Serve at the entrance that `enter` makes until the supervisor says Close or goes away."""
    received = channel.receive()
    if received is None:
        return
    start, sockets = _decode(received[0]), [socket.socket(fileno=each) for each in received[1]]
    assert isinstance(start, Start)
    configure(start.options.log_level)
    make_room(start.options.max_connections + SPARE)
    uvloop.run(_serve(channel, start, sockets, enter))


async def _serve(
    channel: Channel,
    start: Start,
    sockets: list[socket.socket],
    enter: Callable[[Parts], Entrance],
) -> None:
    await Gateway(channel, start, sockets, enter).run()


class Gateway:
    """The parts of one gateway, and what it does on each message of the supervisor."""

    def __init__(
        self,
        channel: Channel,
        start: Start,
        sockets: list[socket.socket],
        enter: Callable[[Parts], Entrance],
    ) -> None:
        options = start.options
        listener, *queues = sockets
        self._loop = asyncio.get_running_loop()
        self._channel = channel
        self._listener = listener
        self._slow = options.trial_latency_ms / 1e3
        self._inline_rows = options.inline_rows
        self._metrics = Metrics()
        self._payloads = PayloadMemory(options.payload_mb << 20)
        self._metrics.watch(lambda: {"payload_bytes": ((), self._payloads.used)})
        clock = time.monotonic
        self._scraping = Scraping(self._metrics, self._send)
        self._catalog = Catalog(start.models, options, self._loop, clock)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        encrypted = bool(options.tls_certificate)
        self._state = State(shown, tokens=options.tokens, encrypted=encrypted)
        self._door = Doorkeeper(
            self._metrics, required=options.tokens, open_metrics=options.open_metrics
        )
        self._sampler = (
            Sampler(options.request_log, queues[0], self._metrics, clock) if queues else None
        )
        parts = Parts(
            options,
            self._catalog,
            self._metrics,
            self._scraping,
            self._state,
            self._door,
            clock,
            lambda model: self._send(Check(model)),
            self._sampler,
        )
        self._entrance = enter(parts)
        self._generations: dict[int, Served] = {}
        self._share = start.number / options.all_gateways
        self._last_tick = clock()
        self._done = asyncio.Event()
        self._opening: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        for dispatcher in self._catalog:
            self._metrics.watch(dispatcher.gauges)

    async def run(self) -> None:
        """Serve until `Close` is obeyed or the supervisor is gone."""
        self._loop.add_reader(self._channel.fileno(), self._receive)
        timers = [
            asyncio.create_task(self._expire()),
            asyncio.create_task(self._look_around()),
        ]
        await self._done.wait()
        for timer in timers:
            timer.cancel()

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE_EVERY)
            for dispatcher in self._catalog:
                dispatcher.expire()
                self._report(dispatcher)

    def _report(self, dispatcher: Dispatcher) -> None:
        """Tell the supervisor of workers that hang, and how requests on trial went."""
        for generation, worker in dispatcher.hung():
            self._send(Hung(dispatcher.model, generation, worker))
        tried = dispatcher.tried()
        if tried is not None:
            self._send(Tried(dispatcher.model, *tried))

    async def _look_around(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self._entrance.check_time()
            self._payloads.trim()
            self._state.live = time.monotonic() - self._last_tick < SILENCE

    # the supervisor ---------------------------------------------------------------------------

    def _receive(self) -> None:
        received = self._channel.receive()
        if received is None:
            # Without a supervisor nobody would replace dead workers: let the clients know at once.
            self._done.set()
            return
        self._obey(_decode(received[0]), received[1])

    def _obey(self, message: Any, descriptors: list[int]) -> None:
        match message:
            case Open():
                self._opening = asyncio.ensure_future(self._entrance.open(self._listener))
            case Announce():
                self._announce(message)
            case Connect():
                self._connect(message, descriptors)
            case Activate():
                self._activate(message)
            case Suspend():
                self._catalog.find(message.model).suspend(message.generation, message.reason)
            case Retire():
                self._retire(message)
            case Tokens() | Notice() | Tick() | Scraped():
                self._learn(message, descriptors)
            case Drain():
                self._state.draining = self._entrance.closing = True
            case Close():
                self._closing = asyncio.ensure_future(self._close())

    def _learn(self, message: Tokens | Notice | Tick | Scraped, descriptors: list[int]) -> None:
        match message:
            case Tokens():
                self._door.know(message.digests)
            case Notice():
                self._catalog.notices[message.model] = message
            case Tick():
                self._last_tick = time.monotonic()
                self._scraping.report()
            case Scraped():
                self._scraping.scraped(message.number, *descriptors)

    def _send(self, message: Message) -> None:
        with contextlib.suppress(ChildDied):
            self._channel.send(message.encode())

    def _announce(self, message: Announce) -> None:
        try:
            tally = self._metrics.tally(labels_of(message))
            served = Served.read(
                message, self._share, self._slow, self._payloads, tally, self._inline_rows
            )
            self._generations[message.generation] = served
            if served.inline is not None:
                self._loop.run_in_executor(None, served.inline.open)
        except PenstockError as error:
            self._send(Failed(message.model, message.generation, str(error)[:2000]))
        else:
            self._send(Announced(message.model, message.generation))

    def _connect(self, message: Connect, descriptors: list[int]) -> None:
        link: GatewayEnd[Any] = GatewayEnd(message.layout, descriptors)
        served = self._generations.get(message.generation)
        if served is None:
            link.close()
            return
        self._catalog.find(message.model).connect(served, message.worker, link, message.place)

    def _activate(self, message: Activate) -> None:
        served = self._generations.get(message.generation)
        if served is not None:
            self._catalog.find(message.model).flip(served)
            self._send(Activated(message.model, message.generation))

    def _retire(self, message: Retire) -> None:
        served = self._generations.pop(message.generation, None)
        retired = Retired(message.model, message.generation)
        if served is None:
            self._send(retired)
        else:

            def gone() -> None:
                self._forget(served)
                self._send(retired)

            self._catalog.find(message.model).retire(served, gone)

    def _forget(self, served: Served) -> None:
        """Let go of a generation; count its version no longer, unless another is of the same."""
        if served.inline is not None:
            served.inline.close()
        if all(served.labels != other.labels for other in self._generations.values()):
            self._scraping.forget(served.labels)

    async def _close(self) -> None:
        """Accept nothing more; end when every request has had its answer."""
        self._state.draining = self._entrance.closing = True
        if self._opening is not None:
            await self._opening
        await self._entrance.close()
        if self._sampler is not None:
            self._sampler.flush()
        self._done.set()
