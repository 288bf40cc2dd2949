"""The front: the supervisor's side of one gateway process.

It remembers what the gateway was told, so that a new gateway can be told the same: the generations
in use, a link to each of their workers, and which of them is active.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Mapping
from typing import Any

from registry.logs import get_logger
from serving.accounts import Accounts
from serving.backoff import Backoff
from serving.children import Child, Children
from serving.crew import STEADY, Worker
from serving.errors import ChildDied, Rejected
from serving.generation import Generation
from serving.link import create_link
from serving.messages import (
    Activate,
    Activated,
    Announced,
    Attach,
    Check,
    Close,
    Connect,
    Drain,
    Failed,
    FromGateway,
    Hung,
    Message,
    Notice,
    Open,
    Retire,
    Retired,
    Start,
    Suspend,
    Tick,
    Tokens,
    Tried,
    decoder,
)
from serving.options import Options
from serving.pool import Pool

log = get_logger(__name__)
_decoder = decoder(FromGateway)
#: Seconds after which a gateway that does not acknowledge a flip is taken for hung.
PATIENCE = 30.0


class Front:
    """Starts the gateway, starts it again when it dies, and passes it links and flips.

    `role` is the kind of gateway, `number` tells it from others of its kind; `queue` is the request log's.
    """

    def __init__(
        self,
        children: Children,
        listener: socket.socket,
        options: Options,
        models: list[str],
        accounts: Accounts,
        *,
        role: str = "gateway",
        number: int = 0,
        queue: socket.socket | None = None,
    ) -> None:
        self._children = children
        self._role = role
        self._number = number
        self._listener = listener
        self._queue = queue
        self._options = options
        self._models = models
        self._accounts = accounts
        self._child: Child | None = None
        self._pools: dict[int, Pool] = {}
        self._active: dict[str, int] = {}
        self._suspended: dict[str, Suspend] = {}
        self._digests: Mapping[str, str] | None = None
        self._notices: dict[str, Notice] = {}
        self._acknowledged: dict[tuple[str, int], asyncio.Future[None]] = {}
        self._backoff = Backoff(first=0.02)
        self._since = 0.0
        self._closing = False
        self._restart: asyncio.Task[None] | None = None
        #: Called with the name of a model whose alias a client asks to read afresh.
        self.on_check: Callable[[str], None] = lambda _: None

    # the process ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start a gateway and tell it everything. Raises ChildDied."""
        child = await self._children.start(self._role, f"pen:{self._role}")
        self._child, self._since = child, asyncio.get_running_loop().time()
        hear, end = self._accounts.around(child, self._receive, lambda: self._lost(child))
        child.listen(_decoder, hear, end)
        sockets = [each.fileno() for each in (self._listener, self._queue) if each]
        self._send(Start(self._options, self._models, self._number), sockets)
        self.authorize(self._digests)
        for pool in dict.fromkeys(self._pools.values()):
            self._announce(pool)
        for model, number in self._active.items():
            known = self._pools.get(number)  # it was announced by its newest number
            self._send(Activate(model, known.generation.number if known is not None else number))
        for notice in self._notices.values():
            self._send(notice)
        for suspended in self._suspended.values():
            self._send(suspended)
        # Last, so that the clients of a dead gateway find the models that it had.
        self._send(Open())

    def _lost(self, child: Child) -> None:
        if child is not self._child:
            return
        self._child = None
        # The links of a dead gateway are gone with it, so what it was to retire is retired.
        self._settle_retired()
        if self._closing:
            return
        log.error("gateway died", role=self._role, number=self._number, pid=child.pid)
        self._restart = asyncio.get_running_loop().create_task(self._start_again())

    async def _start_again(self) -> None:
        if asyncio.get_running_loop().time() - self._since > STEADY:
            self._backoff.reset()
        while not self._closing:
            await asyncio.sleep(self._backoff.next())
            try:
                await self.start()
                return
            except ChildDied as error:
                log.error("gateway not started", reason=str(error))

    def _settle_retired(self) -> None:
        for (_, number), future in self._acknowledged.items():
            if number not in self._pools and not future.done():
                future.set_result(None)

    # messages ---------------------------------------------------------------------------------

    def _send(self, message: Message, descriptors: list[int] | None = None) -> None:
        """Send, if there is a gateway. One that starts later is told everything anyway."""
        if self._child is not None:
            with contextlib.suppress(ChildDied):
                self._child.send(message, descriptors or ())

    def _receive(self, message: Any) -> None:
        if isinstance(message, Check):
            self.on_check(message.model)
            return
        if isinstance(message, Hung | Tried):
            self._report(message)
            return
        kind = Announced if isinstance(message, Failed) else type(message)
        future = self._acknowledged.get((kind.__name__, message.generation))
        if isinstance(message, Failed):
            log.error("generation not taken", number=self._number, reason=message.reason)
        if future is None or future.done():
            return
        if isinstance(message, Failed):
            future.set_exception(Rejected(message.reason))
        else:
            future.set_result(None)

    def _report(self, message: Hung | Tried) -> None:
        pool = self._pools.get(message.generation)
        if pool is None:
            return
        if isinstance(message, Hung):
            pool.kill(message.worker)
        elif pool.on_tried is not None:
            pool.on_tried(message.requests, message.bad)

    def _expect(self, kind: type[Message], number: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._acknowledged[kind.__name__, number] = future
        future.add_done_callback(lambda _: self._acknowledged.pop((kind.__name__, number), None))
        return future

    # generations ------------------------------------------------------------------------------

    async def offer(self, pool: Pool) -> None:
        """Tell the gateway of `pool` and give it links to its workers; returns once it has read it.

        Raises:
            Rejected: the gateway cannot take this generation.
        """
        number = pool.generation.number
        self._pools[number] = pool
        announced = self._expect(Announced, number)
        self._announce(pool)
        await self._patiently(announced)

    async def flip(self, pool: Pool) -> None:
        """Send every batch from now on to `pool`, which was offered; returns once it is so."""
        model, number = pool.generation.model, pool.generation.number
        before = self._active.get(model)
        activated = self._expect(Activated, number)
        self._active[model] = number
        try:
            self._send(Activate(model, number))
            await self._patiently(activated)
            self._suspended.pop(model, None)
            # A pool that served as an older generation is known by its new number from here on.
            self._pools = {n: p for n, p in self._pools.items() if n == number or p is not pool}
        except BaseException:
            if before is not None:
                self._active[model] = before
            raise

    def withdraw(self, pool: Pool) -> None:
        """Forget `pool`, and let the gateway forget it; does not wait."""
        self._forget(pool.generation)
        self._send(Retire(pool.generation.model, pool.generation.number))

    async def _patiently(self, acknowledged: asyncio.Future[None]) -> None:
        """Wait for the gateway. One that does not answer is ended; the next is told again."""
        while not acknowledged.done():
            await asyncio.wait({acknowledged}, timeout=PATIENCE)
            if not acknowledged.done() and self._child is not None:
                log.error("gateway does not answer", pid=self._child.pid)
                self._child.kill()
        acknowledged.result()

    async def retire(self, generation: Generation) -> None:
        """Let its batches finish; returns once the gateway has closed its links."""
        self._forget(generation)
        if self._child is None:
            return
        acknowledged = self._expect(Retired, generation.number)
        self._send(Retire(generation.model, generation.number))
        await acknowledged

    def _forget(self, generation: Generation) -> None:
        self._pools.pop(generation.number, None)
        if self._active.get(generation.model) == generation.number:
            del self._active[generation.model]

    def suspend(self, told: Suspend) -> None:
        """Have requests for a generation refused at once, until a flip or an empty `reason`."""
        self._suspended[told.model] = told
        self._send(told)

    def _announce(self, pool: Pool) -> None:
        self._send(pool.generation.announce())
        for worker in list(pool.workers.values()):
            self.connect(pool, worker)

    def connect(self, pool: Pool, worker: Worker) -> None:
        """Make a link and give each side its end. If one is dead the other reads end of file."""
        link = create_link(worker.layout)
        model, number = pool.generation.model, pool.generation.number
        connect = Connect(model, number, worker.number, worker.layout, worker.place)
        with contextlib.suppress(ChildDied):
            worker.child.send(Attach(worker.layout), link.for_worker)
        self._send(connect, list(link.for_gateway))
        link.close()

    def notify(self, notice: Notice) -> None:
        """Tell how a reload ended, for the page."""
        self._notices[notice.model] = notice
        self._send(notice)

    def authorize(self, digests: Mapping[str, str] | None) -> None:
        """Tell the gateway which tokens clients may show from now on; None: none at all."""
        self._digests = digests
        self._send(Tokens(dict(digests) if digests is not None else None))

    def tick(self) -> None:
        """Tell the gateway that the supervisor is alive."""
        self._send(Tick())

    # the end ----------------------------------------------------------------------------------

    def drain(self) -> None:
        """Not ready any more; connections close with their next answer."""
        self._send(Drain())

    async def close(self, patience: float) -> None:
        """Accept nothing more, finish what is there, exit; SIGKILL after `patience` seconds."""
        self._closing = True
        if self._restart is not None:
            self._restart.cancel()
            await asyncio.gather(self._restart, return_exceptions=True)
        self._listener.close()
        if (child := self._child) is None:
            return
        self._send(Close())
        try:
            await asyncio.wait_for(child.ended.wait(), patience)
        except TimeoutError:
            log.warning("requests did not finish in time", seconds=patience)
            await child.stop(0.0)
