"""All gateways of a service, as the supervisor sees them: each has a link to every worker.

A generation is active once every gateway has acknowledged the flip. None flips before each has
said that it can, so that no client of one gateway sees a version that another refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from serving.accounts import Accounts
from serving.crew import Worker
from serving.front import Front
from serving.generation import Generation
from serving.messages import Notice, Suspend
from serving.pool import Pool
from serving.requestlog.keeper import LogKeeper


class Fronts:
    """Tells each gateway what all must know. The death of one is a matter of its front alone."""

    def __init__(
        self, fronts: Sequence[Front], accounts: Accounts, requests: LogKeeper | None = None
    ) -> None:
        self._fronts = fronts
        self._accounts = accounts
        self._requests = requests

    async def start(self) -> None:
        """Start every gateway, and what writes the request log. Raises ChildDied."""
        if self._requests is not None:
            await self._requests.start()
        await self._all(Front.start)

    async def activate(self, pool: Pool) -> None:
        """Give every gateway links to the workers of `pool` and flip to it; returns once all did.

        Raises:
            Rejected: a gateway cannot take this generation; none has flipped then.
        """

        def connect(worker: Worker) -> None:
            for front in self._fronts:
                front.connect(pool, worker)

        pool.on_replaced = connect
        if self._requests is not None:
            self._requests.announce(pool.generation.announce())
        try:
            await self._all(lambda front: front.offer(pool))
            await self._all(lambda front: front.flip(pool))
        except BaseException:
            pool.on_replaced = None
            for front in self._fronts:
                front.withdraw(pool)
            raise

    async def retire(self, generation: Generation, pool: Pool) -> None:
        """Let its batches finish; returns once every gateway has closed its links.

        `pool` has its workers, unless they serve as another generation by now.
        """
        if pool.generation is generation:
            pool.on_replaced = pool.on_tried = None
        await self._all(lambda front: front.retire(generation))

    def suspend(self, generation: Generation, reason: str) -> None:
        """Have requests for a generation refused at once, until a flip or an empty `reason`."""
        told = Suspend(generation.model, generation.number, reason)
        for front in self._fronts:
            front.suspend(told)

    async def _all(self, act: Callable[[Front], Awaitable[None]]) -> None:
        """Act on every front at once; wait for all, then raise what went wrong first."""
        outcomes = await asyncio.gather(*map(act, self._fronts), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    def notify(self, notice: Notice, stages: list[tuple[str, float]]) -> None:
        """Tell how a reload ended, for the page, and how long its stages took, for the metrics."""
        self._accounts.reloaded(notice, stages)
        for front in self._fronts:
            front.notify(notice)

    def on_check(self, check: Callable[[str], None]) -> None:
        """Call `check` with the name of a model whose alias a client asks to read afresh."""
        for front in self._fronts:
            front.on_check = check

    def authorize(self, digests: Mapping[str, str] | None) -> None:
        """Tell which tokens clients may show from now on; None: none at all."""
        for front in self._fronts:
            front.authorize(digests)

    def tick(self) -> None:
        """Tell that the supervisor is alive."""
        for front in self._fronts:
            front.tick()
        if self._requests is not None:
            self._requests.tick()

    def drain(self) -> None:
        """Not ready any more; connections close with their next answer."""
        for front in self._fronts:
            front.drain()

    async def close(self, patience: float) -> None:
        """Accept nothing more, finish what is there, exit; SIGKILL after `patience` seconds."""
        await self._all(lambda front: front.close(patience))
        if self._requests is not None:
            await self._requests.close()
