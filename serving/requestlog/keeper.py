"""The supervisor's side of the request log: keeps its writer running, and the queue to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from registry.logs import get_logger
from serving.accounts import Accounts
from serving.backoff import Backoff
from serving.children import Child, Children
from serving.errors import ChildDied
from serving.messages import Announce, Message, Tick, decoder
from serving.options import Options
from serving.requestlog.messages import FromLog, StartLog

log = get_logger(__name__)
_decoder = decoder(FromLog)
#: Versions that a new writer is told of.
MOST_VERSIONS = 16
#: Bytes of the queue, as far as the kernel allows.
QUEUE = 4 * 1024 * 1024
#: Seconds in which the last file must be written.
PATIENCE = 10.0


class LogKeeper:
    """Starts the writer, and another when it dies. A service does without it when it must."""

    def __init__(self, children: Children, options: Options, accounts: Accounts) -> None:
        self._children = children
        self._accounts = accounts
        self._start = StartLog(
            options.request_log_folder,
            options.request_log_file_mb << 20,
            options.request_log_file_seconds,
            options.request_log_max_mb << 20,
            options.request_log_omit,
            options.log_level,
        )
        #: What gateways send into, and what the writer reads from.
        self.queue, self._reader = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.queue.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, QUEUE)
        self._announced: dict[tuple[str, str], Announce] = {}
        self._child: Child | None = None
        self._backoff = Backoff(first=0.1)
        self._closing = False
        self._restart: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start a writer; if that fails, try again and again."""
        try:
            await self._begin()
        except ChildDied as error:
            self._start_again_soon(str(error))

    async def _begin(self) -> None:
        child = await self._children.start("requests", "pen:requests")
        self._child = child
        hear, end = self._accounts.around(child, lambda _: None, lambda: self._lost(child))
        child.listen(_decoder, hear, end)
        child.send(self._start, [self._reader.fileno()])
        for announced in self._announced.values():
            child.send(announced)

    def _lost(self, child: Child) -> None:
        if child is self._child and not self._closing:
            self._child = None
            self._start_again_soon(f"process {child.pid} died")

    def _start_again_soon(self, reason: str) -> None:
        log.error("request log interrupted", reason=reason)
        self._restart = asyncio.get_running_loop().create_task(self._start_again())

    async def _start_again(self) -> None:
        while not self._closing:
            await asyncio.sleep(self._backoff.next())
            try:
                await self._begin()
                return
            except ChildDied as error:
                log.error("request log not started", reason=str(error))

    def announce(self, announced: Announce) -> None:
        """Requests of this version will be answered."""
        key = (announced.model, announced.version)
        self._announced.pop(key, None)
        self._announced[key] = announced
        while len(self._announced) > MOST_VERSIONS:
            del self._announced[next(iter(self._announced))]
        self._send(announced)

    def tick(self) -> None:
        """Ask for what was counted."""
        self._send(Tick())

    def _send(self, message: Message) -> None:
        if self._child is not None:
            with contextlib.suppress(ChildDied):
                self._child.send(message)

    async def close(self) -> None:
        """Let the writer write what is left; gateways have sent their last."""
        self._closing = True
        if self._restart is not None:
            self._restart.cancel()
            await asyncio.gather(self._restart, return_exceptions=True)
        if self._child is not None:
            await self._child.stop(PATIENCE)
        self.queue.close()
        self._reader.close()
