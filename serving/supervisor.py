"""The supervisor: owns the listener, the watchers and the generations; starts and ends the rest."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Callable
from functools import partial

from registry.aliases import Head, Heads
from registry.errors import PenstockError
from registry.logs import get_logger
from serving.accounts import Accounts
from serving.budget import Budget
from serving.children import Children
from serving.decisions import GoBack
from serving.deployment import Deployment
from serving.front import Front
from serving.fronts import Fronts
from serving.gauges import gauges
from serving.generation import Generation
from serving.listeners import Listeners
from serving.means import Means
from serving.options import Options
from serving.pointer import Pointers
from serving.pool import Pool
from serving.presence import Presence
from serving.requestlog.keeper import LogKeeper
from serving.source import Source
from serving.tokens import ClientTokens
from serving.watcher import Watcher

log = get_logger(__name__)
#: Seconds between two signs of life to the gateway.
TICK = 1.0
#: Seconds that the way out of Consul may take.
LEAVING = 3.0

Wanted = tuple[str, str]


class Supervisor:
    """One service. `run` lasts until SIGTERM or SIGINT."""

    def __init__(
        self,
        options: Options,
        wanted: list[Wanted],
        heads: Heads,
        source: Source,
        pointers: Pointers,
        listeners: Listeners,
        on_ready: Callable[[list[Deployment]], None],
        presence: Presence,
        go_back: GoBack,
        tokens: ClientTokens | None = None,
    ) -> None:
        self._options = options
        self._wanted = wanted
        self._heads = heads
        self._source = source
        self._pointers = pointers
        self._listeners = listeners
        self._on_ready = on_ready
        self._presence = presence
        self._go_back = go_back
        self._tokens = tokens
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Serve, then drain."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        deployments: list[Deployment] = []
        accounts = Accounts(lambda: gauges(children, deployments, self._clients))
        children = Children(self._options.log_level, accounts.ledger.own)
        front = self._fronts(children, accounts)
        deployments += self._deployments(children, front)
        watchers = [Watcher(self._heads, d.model, d.alias, d.want) for d in deployments]
        tasks: list[asyncio.Task[None]] = []
        try:
            front.on_check(partial(_look_again, watchers))
            self._authorize(front)
            await front.start()
            tasks = [asyncio.create_task(deployment.run()) for deployment in deployments]
            self._presence.start()
            tasks += [asyncio.create_task(self._tick(front, deployments))]
            tasks += [asyncio.create_task(self._announce(deployments))]
            await self._begin(deployments, watchers)
            await self._wait(tasks)
            await self._drain(front)
        finally:
            for watcher in watchers:
                watcher.stop()
            self._presence.leave()
            if self._tokens is not None:
                self._tokens.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await front.close(0.0)
            await asyncio.gather(*(deployment.stop() for deployment in deployments))
            await asyncio.to_thread(self._presence.join, LEAVING)
            children.close()

    @property
    def _clients(self) -> int | None:
        return len(self._tokens.digests or ()) if self._tokens is not None else None

    def _authorize(self, front: Fronts) -> None:
        """Admit the clients whose tokens are known, and follow as they change."""
        if self._tokens is not None:
            front.authorize(self._tokens.digests)
            loop = asyncio.get_running_loop()
            self._tokens.start(lambda known: loop.call_soon_threadsafe(front.authorize, known))

    def _fronts(self, children: Children, accounts: Accounts) -> Fronts:
        models = [model for model, _ in self._wanted]
        sockets = [("gateway", each) for each in self._listeners.http]
        sockets += [("grpc", each) for each in self._listeners.grpc]
        options = self._options
        requests = LogKeeper(children, options, accounts) if options.request_log else None
        queue = requests.queue if requests is not None else None
        fronts = [
            Front(children, each, options, models, accounts, role=role, number=number, queue=queue)
            for number, (role, each) in enumerate(sockets)
        ]
        return Fronts(fronts, accounts, requests)

    def _deployments(self, children: Children, front: Fronts) -> list[Deployment]:
        options = self._options

        def make_pool(generation: Generation, contract: str) -> Pool:
            return Pool(generation, children, options, contract)

        means = Means(
            self._source.fetch,
            make_pool,
            front,
            self._pointers,
            options,
            itertools.count(1),
            Budget(options, children.pids),
            self._go_back,
        )
        deployments = [Deployment(model, alias, means) for model, alias in self._wanted]
        for deployment in deployments:
            self._source.copies.protect(deployment.in_use)
        return deployments

    async def _begin(self, deployments: list[Deployment], watchers: list[Watcher]) -> None:
        """Start to watch; where no head can be read, with what served last."""
        known = await asyncio.gather(
            *(asyncio.to_thread(self._known, d.model, d.alias) for d in deployments)
        )
        for deployment, watcher, head in zip(deployments, watchers, known, strict=True):
            if head is not None:
                deployment.want(head)
            # What a watch shows first may be older than what served last.
            watcher.start(head.revision if head else -1)

    def _known(self, model: str, alias: str) -> Head | None:
        try:
            head = self._heads.read(model, alias)
        except (PenstockError, OSError) as error:
            log.warning("head not read", model=model, alias=alias, reason=str(error))
            head = None
        return head or self._pointers.read(model, alias)

    async def _wait(self, tasks: list[asyncio.Task[None]]) -> None:
        """Until a signal comes. A task of ours that ends by itself is a defect, and is raised."""
        stop = asyncio.create_task(self._stop.wait())
        try:
            while not stop.done():
                pending = [task for task in tasks if not task.done()]
                await asyncio.wait({stop, *pending}, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    if task.done():
                        task.result()
        finally:
            stop.cancel()

    async def _tick(self, front: Fronts, deployments: list[Deployment]) -> None:
        while True:
            front.tick()
            self._presence.show(deployments)
            await asyncio.sleep(TICK)

    async def _announce(self, deployments: list[Deployment]) -> None:
        for deployment in deployments:
            await deployment.ready.wait()
        self._on_ready(deployments)

    async def _drain(self, front: Fronts) -> None:
        """Not ready → `drain_delay` → close the listener, finish what is in flight."""
        log.info("draining", delay=self._options.drain_delay)
        self._stop.clear()
        front.drain()
        self._presence.leave()
        try:
            # A second signal cuts the delay short.
            await asyncio.wait_for(self._stop.wait(), self._options.drain_delay)
        except TimeoutError:
            pass
        await front.close(self._options.drain_timeout)


def _look_again(watchers: list[Watcher], model: str) -> None:
    for watcher in watchers:
        if watcher.model == model:
            watcher.look_again()
