"""The watcher: a thread that waits for the head of one alias to change."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from registry.aliases import Head, Heads
from registry.errors import PenstockError
from registry.logs import get_logger
from serving.backoff import Backoff

log = get_logger(__name__)
#: Seconds that one wait may take; after that the head is looked at afresh.
WAIT = 30.0


class Watcher:
    """Calls `changed` on the event loop with each new head of `model`@`alias`.

    A head that is gone, cannot be read or cannot be reached changes nothing: the model that is
    live goes on, and the trouble is logged once for each kind.
    """

    def __init__(self, heads: Heads, model: str, alias: str, changed: Callable[..., None]) -> None:
        self.model = model
        self._heads = heads
        self._alias = alias
        self._changed = changed
        self._stopped = threading.Event()
        self._trouble = ""
        self._looking: asyncio.Task[None] | None = None

    def start(self, revision: int = -1) -> None:
        """Begin to watch for other revisions than this, which is known.

        The thread is a daemon: a wait in progress does not delay the exit.
        """
        loop = asyncio.get_running_loop()
        name = f"watch-{self.model}@{self._alias}"
        threading.Thread(target=self._run, args=(loop, revision), name=name, daemon=True).start()

    def look_again(self) -> None:
        """Read the head now, and call `changed` with it and `again`; one look at a time."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        try:
            head = await asyncio.to_thread(self._heads.read, self.model, self._alias)
        except (PenstockError, OSError) as error:
            log.warning("head not read", model=self.model, alias=self._alias, reason=str(error))
            return
        if head is not None and not self._stopped.is_set():
            self._changed(head, again=True)

    def stop(self) -> None:
        """Report nothing any more."""
        self._stopped.set()

    def _run(self, loop: asyncio.AbstractEventLoop, revision: int) -> None:
        backoff = Backoff(first=0.5)
        while not self._stopped.is_set():
            head = self._wait(revision)
            if isinstance(head, PenstockError):
                self._stopped.wait(backoff.next())
                continue
            backoff.reset()
            if head is None or self._stopped.is_set():
                continue
            revision = head.revision
            try:
                loop.call_soon_threadsafe(self._changed, head)
            except RuntimeError:
                # The loop was closed between the check and the call.
                return

    def _wait(self, revision: int) -> Head | PenstockError | None:
        try:
            head = self._heads.wait(self.model, self._alias, revision, WAIT)
        except (PenstockError, OSError) as error:
            if str(error) != self._trouble:
                log.warning("head ignored", model=self.model, alias=self._alias, reason=str(error))
            self._trouble = str(error)
            return error if isinstance(error, PenstockError) else PenstockError(str(error))
        self._trouble = ""
        return head
