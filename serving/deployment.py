"""A deployment: takes one model from one generation to the next.

One candidate at a time is brought up beside the active generation: fetched, verified, loaded,
warmed up and checked in processes of its own. Only then does the gateway flip. Whatever goes wrong
before that ends the candidate alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from registry.aliases import Head
from registry.artifacts.manifest import Reference
from registry.errors import BadData, Corrupt, NotFound, PenstockError
from registry.logs import get_logger
from serving.backoff import Backoff
from serving.errors import ChildDied, Rejected, ServingError
from serving.fronts import Fronts
from serving.generation import Generation, State
from serving.messages import Notice
from serving.options import Options
from serving.pointer import Pointers
from serving.pool import Pool

log = get_logger(__name__)
#: Times that an artifact which is missing or damaged is looked for before it is rejected.
FETCHES = 3

#: Fetches and verifies an artifact; blocking, called on a thread.
Fetch = Callable[[Reference], Path]
MakePool = Callable[[Generation], Pool]


class Deployment:
    """The generations of one model."""

    def __init__(
        self,
        model: str,
        alias: str,
        fetch: Fetch,
        make_pool: MakePool,
        front: Fronts,
        pointers: Pointers,
        options: Options,
        numbers: Iterator[int],
    ) -> None:
        self.model = model
        self.alias = alias
        self.generation: Generation | None = None
        #: Set once a generation has been active.
        self.ready = asyncio.Event()
        self._fetch = fetch
        self._make_pool = make_pool
        self._front = front
        self._pointers = pointers
        self._options = options
        self._numbers = numbers
        self._pool: Pool | None = None
        self._desired: Head | None = None
        self._changed = asyncio.Event()
        self._candidate: Generation | None = None
        self._newest: Generation | None = None
        self._draining: set[asyncio.Task[None]] = set()

    @property
    def note(self) -> str:
        """How the newest reload stands or ended, unless its model serves; else empty."""
        newest = self._newest
        if newest is None or newest is self.generation:
            return ""
        reason = f": {newest.reason[:300]}" if newest.reason else ""
        return f"revision {newest.head.revision} {newest.state}{reason}"

    def want(self, head: Head, *, again: bool = False) -> None:
        """Ask for the model of `head`. A revision that is not higher than the last is ignored.

        `again` also takes the last one, if it was rejected: what was wrong may be mended.
        """
        last = self._desired
        retry = again and last is not None and head == last and self._was_rejected(head)
        if last is not None and head.revision <= last.revision and not retry:
            if head.revision < last.revision:
                log.warning("lower revision ignored", model=self.model, revision=head.revision)
            return
        if head.live is None:
            log.warning("alias points at nothing", model=self.model, revision=head.revision)
            return
        self._desired = head
        self._changed.set()

    def _was_rejected(self, head: Head) -> bool:
        serves = self.generation is not None and self.generation.head.revision == head.revision
        return self._candidate is None and not serves

    async def run(self) -> None:
        """Bring up what is wanted, newest first, until cancelled."""
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                assert self._desired is not None
                await self._until_superseded(self._desired)
        finally:
            await asyncio.gather(*self._draining, return_exceptions=True)

    async def _until_superseded(self, head: Head) -> None:
        bringing = asyncio.create_task(self._bring_or_fall_back(head))
        newer = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait({bringing, newer}, return_when=asyncio.FIRST_COMPLETED)
            if not bringing.done() and self._candidate and self._candidate.supersedable:
                self._candidate.reject("superseded by a newer revision")
                bringing.cancel()
            await asyncio.wait({bringing})
        finally:
            for task in (bringing, newer):
                task.cancel()
            await asyncio.gather(bringing, newer, return_exceptions=True)
        if not bringing.cancelled():
            bringing.result()

    async def _bring_or_fall_back(self, head: Head) -> None:
        """Bring up `head`; if nothing is active after that, what was last known to work."""
        await self._bring(head)
        if self.generation is not None:
            return
        known = await asyncio.to_thread(self._pointers.read, self.model, self.alias)
        if known is not None and known.live not in (None, head.live):
            log.warning("falling back", model=self.model, revision=known.revision)
            await self._bring(known)

    async def _bring(self, head: Head) -> None:
        assert head.live is not None
        generation = Generation(next(self._numbers), head, head.live)
        self._candidate = self._newest = generation
        pool = self._make_pool(generation)
        try:
            await self._prepare(generation, pool)
            await self._front.activate(pool)
        except (Rejected, ChildDied) as error:
            await self._give_up(generation, pool, str(error))
        except Exception:
            # Whatever it is, the active generation serves on.
            log.exception("defect in a reload", model=self.model)
            await self._give_up(generation, pool, "an unexpected error; see the log")
        except asyncio.CancelledError:
            await pool.stop()
            raise
        else:
            await self._take_over(generation, pool)
        finally:
            self._candidate = None

    async def _give_up(self, generation: Generation, pool: Pool, reason: str) -> None:
        generation.reject(reason)
        await pool.stop()
        self._tell(generation)

    async def _prepare(self, generation: Generation, pool: Pool) -> None:
        """From desired to validated. Raises Rejected."""
        generation.to(State.FETCHING)
        generation.folder = await self._fetched(generation.reference)
        generation.to(State.VERIFIED)
        backoff = Backoff(first=0.5)
        for attempt in range(1, self._options.load_attempts + 1):
            try:
                await pool.start()
                generation.to(State.VALIDATED)
                return
            except ChildDied as error:
                log.warning("load failed", model=self.model, attempt=attempt, reason=str(error))
                if attempt == self._options.load_attempts:
                    raise Rejected(f"{error} ({attempt} times)") from error
            await pool.clear()
            if generation.state is not State.VERIFIED:
                generation.to(State.VERIFIED)
            await asyncio.sleep(backoff.next())

    async def _fetched(self, reference: Reference) -> Path:
        """Fetch with patience: a store may be out of reach, or not show everything at once."""
        backoff, failures = Backoff(first=0.5), 0
        while True:
            try:
                return await asyncio.to_thread(self._fetch, reference)
            except (NotFound, BadData) as error:
                failures += 1
                if failures == FETCHES or not isinstance(error, (NotFound, Corrupt)):
                    raise Rejected(str(error)) from error
            except (PenstockError, OSError) as error:
                log.warning("artifact not fetched yet", model=self.model, reason=str(error))
            await asyncio.sleep(backoff.next())

    async def _take_over(self, generation: Generation, pool: Pool) -> None:
        generation.to(State.ACTIVE)
        before, self._pool, self.generation = self._pool, pool, generation
        if before is not None:
            task = asyncio.create_task(self._drain(before))
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)
        self._tell(generation)
        self.ready.set()
        try:
            await asyncio.to_thread(self._pointers.save, generation.head)
        except OSError as error:
            log.warning("pointer not saved", model=self.model, reason=str(error))

    async def _drain(self, pool: Pool) -> None:
        """Let a generation finish its batches, then end its processes and so free its memory."""
        pool.generation.to(State.DRAINING)
        try:
            await asyncio.wait_for(self._front.retire(pool), self._options.drain_timeout)
        except TimeoutError:
            log.warning("generation did not drain", model=self.model)
        await pool.stop()
        pool.generation.to(State.RETIRED)

    def _tell(self, generation: Generation) -> None:
        self._front.notify(
            Notice(
                self.model, generation.head.revision, str(generation.state), generation.reason[:500]
            )
        )

    async def stop(self) -> None:
        """End the workers of the active generation."""
        if self._pool is not None:
            with contextlib.suppress(ServingError):
                await self._pool.stop()
