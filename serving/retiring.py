"""Retiring: what becomes of a generation that another one has replaced."""

from __future__ import annotations

import asyncio

from registry.logs import get_logger
from serving.fronts import Fronts
from serving.generation import Generation, State
from serving.options import Options
from serving.pool import Pool

log = get_logger(__name__)


class Retiring:
    """Lets a generation drain, holds its workers for a while, then ends them and frees their memory.

    Until they end, `take` gives them back: going back to this model costs no load.
    """

    def __init__(self, generation: Generation, pool: Pool, front: Fronts, options: Options) -> None:
        self.generation = generation
        self.pool = pool
        self._front = front
        self._options = options
        self._released = asyncio.Event()
        self._taken = False
        self._task: asyncio.Task[None] | None = None

    def start(self, *, hold: bool) -> asyncio.Task[None]:
        """Begin; the task ends when the generation is retired."""
        self.generation.to(State.DRAINING)
        if not hold:
            self._released.set()
        self._task = asyncio.create_task(self._run())
        return self._task

    @property
    def available(self) -> bool:
        """Whether its workers can still be had."""
        return not self._released.is_set()

    def take(self) -> Pool:
        """Its workers, which are the caller's from here on."""
        self._taken = True
        self._released.set()
        return self.pool

    def expire(self) -> None:
        """Hold it no longer."""
        self._released.set()

    async def release(self) -> None:
        """Hold it no longer; returns once its memory is free."""
        self.expire()
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        if await self._drained() and self.available:
            self.generation.to(State.HELD)
            try:
                await asyncio.wait_for(self._released.wait(), self._options.rollback_hold)
            except TimeoutError:
                self._released.set()
        self._released.set()
        if not self._taken:
            await self.pool.stop()
        self.generation.to(State.RETIRED)

    async def _drained(self) -> bool:
        """Let it finish its batches. Those of one that does not in time are tried on the new one."""
        try:
            await asyncio.wait_for(
                self._front.retire(self.generation, self.pool), self._options.drain_timeout
            )
        except TimeoutError:
            log.warning("generation did not drain", model=self.generation.model)
            return False
        return True
