"""A candidate: a generation on its way from desired to validated."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

from registry.artifacts.manifest import Reference
from registry.errors import BadData, Corrupt, NotFound, PenstockError
from registry.logs import get_logger
from serving.backoff import Backoff
from serving.errors import ChildDied, Rejected
from serving.generation import Generation, State
from serving.options import Options
from serving.pool import Pool

log = get_logger(__name__)
#: Times that an artifact which is missing or damaged is looked for before it is rejected.
FETCHES = 3

#: Fetches and verifies an artifact; blocking, called on a thread.
Fetch = Callable[[Reference], Path]


class Candidate:
    """Brings up the workers of one generation, which nobody asks yet."""

    def __init__(self, generation: Generation, pool: Pool, fetch: Fetch, options: Options) -> None:
        self.generation = generation
        self.pool = pool
        self._fetch = fetch
        self._options = options

    async def prepare(self, make_room: Callable[[Generation], Awaitable[None]]) -> None:
        """From desired to validated; `make_room` sees to the memory before anything is loaded.

        Raises:
            Rejected: it must not serve.
        """
        self.generation.to(State.FETCHING)
        # Instances that learn of a model together do not ask the store for it together.
        await asyncio.sleep(random.uniform(0.0, self._options.splay))
        self.generation.folder = await self._fetched(self.generation.reference)
        self.generation.to(State.VERIFIED)
        await make_room(self.generation)
        await self._load()
        self.generation.to(State.VALIDATED)

    async def _load(self) -> None:
        backoff, attempts = Backoff(first=0.5), self._options.load_attempts
        for attempt in range(1, attempts + 1):
            try:
                await self.pool.start()
                return
            except ChildDied as error:
                model = self.generation.model
                log.warning("load failed", model=model, attempt=attempt, reason=str(error))
                if attempt == attempts:
                    raise Rejected(f"{error} ({attempt} times)") from error
            await self.pool.clear()
            if self.generation.state is not State.VERIFIED:
                self.generation.to(State.VERIFIED)
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
                model = self.generation.model
                log.warning("artifact not fetched yet", model=model, reason=str(error))
            await asyncio.sleep(backoff.next())
