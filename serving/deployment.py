"""A deployment: follows one alias, and has what it points at brought up.

The newest revision counts. How fast revisions are followed is the pace's to say; how one generation
takes over from another is in `succession`.
"""

from __future__ import annotations

import asyncio
import contextlib

from registry.aliases import Head
from registry.artifacts.manifest import Reference
from registry.logs import get_logger
from serving.generation import Generation
from serving.means import Means
from serving.pace import Pace
from serving.succession import Succession

log = get_logger(__name__)


class Deployment:
    """One model of the service."""

    def __init__(self, model: str, alias: str, means: Means) -> None:
        self.model = model
        self.alias = alias
        self._succession = Succession(model, alias, means, lambda: self._wake.set())
        self._pointers = means.pointers
        options = means.options
        self._pace = Pace(options.quiescence, options.max_swaps, options.swap_period)
        self._desired: Head | None = None
        self._pending: Head | None = None
        self._wake = asyncio.Event()

    @property
    def generation(self) -> Generation | None:
        """The generation that is active."""
        return self._succession.generation

    @property
    def ready(self) -> asyncio.Event:
        """Set once a generation has been active."""
        return self._succession.ready

    @property
    def note(self) -> str:
        """What there is to say beside the generation that serves; see `Succession`."""
        return self._succession.note

    def in_use(self) -> list[Reference]:
        """The artifacts that must stay on this machine."""
        return self._succession.in_use()

    def want(self, head: Head, *, again: bool = False) -> None:
        """Ask for the model of `head`. A revision that is not higher than the last is ignored.

        `again` also takes the last one, if it was rejected: what was wrong may be mended.
        """
        last = self._desired
        retry = again and head == last and self._succession.rejected(head)
        if last is not None and head.revision <= last.revision and not retry:
            if head.revision < last.revision:
                log.warning("lower revision ignored", model=self.model, revision=head.revision)
            return
        if head.live is None:
            log.warning("alias points at nothing", model=self.model, revision=head.revision)
            return
        self._desired = self._pending = head
        self._pace.changed(asyncio.get_running_loop().time())
        self._wake.set()

    async def run(self) -> None:
        """Bring up what is wanted, newest first, until cancelled."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._succession.trouble is not None:
                    await self._go_back()
                if await self._may_follow():
                    head, self._pending = self._pending, None
                    assert head is not None
                    await self._until_superseded(head)
        finally:
            await self._succession.settle()

    async def _go_back(self) -> None:
        head = await self._succession.go_back()
        if head is not None and (self._desired is None or head.revision >= self._desired.revision):
            # The watcher may have shown what was just recorded already.
            self._desired, self._pending = head, None

    async def _may_follow(self) -> bool:
        """Wait as long as the pace says; False if nothing is wanted, or trouble comes first."""
        now = asyncio.get_running_loop().time
        while self._pending is not None:
            at_hand = self._succession.workers_of(self._pending) is not None
            wait = self._pace.wait(now(), cheap=at_hand)
            if not wait:
                return True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait)
            if self._succession.trouble is not None:
                return False
            self._wake.clear()
        return False

    async def _until_superseded(self, head: Head) -> None:
        bringing = asyncio.create_task(self._bring_or_fall_back(head))
        woken = asyncio.create_task(self._wake.wait())
        try:
            await asyncio.wait({bringing, woken}, return_when=asyncio.FIRST_COMPLETED)
            candidate = self._succession.candidate
            if not bringing.done() and candidate is not None and candidate.supersedable:
                newer = self._pending is not None
                self._pending = self._pending or head
                candidate.reject(f"superseded by {'a newer revision' if newer else 'trouble'}")
                bringing.cancel()
            await asyncio.wait({bringing})
        finally:
            for task in (bringing, woken):
                task.cancel()
            await asyncio.gather(bringing, woken, return_exceptions=True)
        if not bringing.cancelled():
            bringing.result()

    async def _bring_or_fall_back(self, head: Head) -> None:
        """Bring up `head`; if nothing is active after that, what was last known to work."""
        await self._succession.bring(head)
        self._pace.swapped(asyncio.get_running_loop().time())
        if self.generation is not None:
            return
        known = await asyncio.to_thread(self._pointers.read, self.model, self.alias)
        if known is not None and known.live not in (None, head.live):
            log.warning("falling back", model=self.model, revision=known.revision)
            await self._succession.bring(known)

    async def stop(self) -> None:
        """End the workers of the active generation."""
        await self._succession.stop()
