"""Decisions that the service takes itself: to go back from a model that proved bad."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from registry.aliases import Head, open_aliases
from registry.aliases.heads import head_of
from registry.artifacts.store import Store
from registry.errors import PenstockError
from registry.identity import who_am_i
from registry.logs import get_logger
from registry.settings import Settings
from serving.backoff import Backoff

log = get_logger(__name__)
#: Seconds that going back waits at most for its record.
PATIENCE = 5.0

#: Records that an alias goes back; blocking, called on a thread. `Recorder.go_back` is one.
GoBack = Callable[[Head, Head, str], Head | None]


class Recorder:
    """Writes to the decision log of one environment."""

    def __init__(self, settings: Settings, open_store: Callable[[], Store]) -> None:
        self._settings = settings
        self._open_store = open_store

    def go_back(self, bad: Head, good: Head, why: str) -> Head | None:
        """Decide that the alias of `bad` points at what `good` did; the head after that.

        None if another decision was taken since, or if `good` stands in no log.

        Raises:
            PenstockError, OSError: it cannot be recorded (now).
        """
        aliases = open_aliases(self._settings, self._open_store())
        place = f"{who_am_i(self._settings)} (serving, process {os.getpid()})"
        decision = aliases.retreat(
            (bad.model, bad.alias), bad=bad.revision, to=good.revision, who=place, why=why
        )
        return head_of(decision) if decision is not None else None


class Recording:
    """Records that one model goes back, with patience; the service itself has less of it."""

    def __init__(self, go_back: GoBack) -> None:
        self._go_back = go_back
        self._tasks: set[asyncio.Task[Head | None]] = set()

    async def decide(self, bad: Head, good: Head, reason: str) -> Head | None:
        """The head after the decision; None if there is none, or none yet: then it is tried on."""
        why = f"revision {bad.revision} proved bad: {reason}"
        task = asyncio.create_task(self._try(bad, good, why))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.wait_for(asyncio.shield(task), PATIENCE)
        except TimeoutError:
            log.warning("going back without a record", model=bad.model, revision=bad.revision)
            return None

    async def _try(self, bad: Head, good: Head, why: str) -> Head | None:
        backoff = Backoff(first=0.5)
        while True:
            try:
                return await asyncio.to_thread(self._go_back, bad, good, why)
            except (PenstockError, OSError) as error:
                log.warning("decision not recorded", model=bad.model, reason=str(error))
            await asyncio.sleep(backoff.next())

    async def stop(self) -> None:
        """Try no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
