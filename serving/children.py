"""The supervisor's children: started through the forkserver, watched by pidfd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from registry.redaction import without_secrets
from registry.reports import reports
from serving.channel import Channel
from serving.errors import ChildDied
from serving.exposition import Labels
from serving.gateway.metrics import Metrics
from serving.messages import Fork, Forked, FromForkserver, Message, Reported, decoder

#: Native libraries keep to one thread unless a model's options say otherwise.
_THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
#: Seconds that a child has to exit once its channel is closed.
GRACE = 2.0


class Child:
    """One process: its channel, and a pidfd that tells of its end and can only ever mean it."""

    def __init__(
        self, title: str, pid: int, pidfd: int, channel: Channel, gone: Callable[[Child], None]
    ) -> None:
        self.title = title
        #: Whether its end was asked for.
        self.stopping = False
        self._gone = gone
        self.pid = pid
        self.ended = asyncio.Event()
        self._pidfd = pidfd
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._messages: msgspec.json.Decoder[Any] | None = None
        self._on_message: Callable[[Any], None] | None = None
        self._on_end: Callable[[], None] | None = None
        self._loop.add_reader(pidfd, self._end)

    def listen(
        self,
        messages: msgspec.json.Decoder[Any],
        receive: Callable[[Any], None],
        on_end: Callable[[], None],
    ) -> None:
        """Call `receive` with each message of the child, and `on_end` once it is gone."""
        self._messages, self._on_message, self._on_end = messages, receive, on_end
        if self.ended.is_set():
            self._loop.call_soon(on_end)
        else:
            self._loop.add_reader(self._channel, self._receive)

    def _receive(self) -> None:
        received = self._channel.receive()
        if received is None:
            # It is about to exit, which the pidfd will tell; without its channel it is of no use.
            self._loop.remove_reader(self._channel)
            self._loop.call_later(GRACE, self.kill)
        elif self._messages is not None and self._on_message is not None:
            message = self._messages.decode(received[0])
            if isinstance(message, Reported):
                reports.forward(message.event, process=self.title)
            else:
                self._on_message(message)

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message. Raises ChildDied."""
        if self.ended.is_set():
            raise ChildDied(f"{self.title} has ended")
        self._channel.send(message.encode(), descriptors)

    def kill(self) -> None:
        """SIGKILL, unless it has ended."""
        if not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def stop(self, grace: float) -> None:
        """Close the channel, which asks the child to exit; SIGKILL after `grace` seconds."""
        self.stopping = True
        if not self.ended.is_set():
            self._loop.remove_reader(self._channel)
            self._channel.close()
        try:
            await asyncio.wait_for(self.ended.wait(), grace)
        except TimeoutError:
            self.kill()
            await self.ended.wait()

    def _end(self) -> None:
        self._loop.remove_reader(self._pidfd)
        if self._channel.fileno() >= 0:
            self._loop.remove_reader(self._channel)
            self._channel.close()
        os.close(self._pidfd)
        self.ended.set()
        self._gone(self)
        if self._on_end is not None:
            self._on_end()


class Children:
    """Starts children; starts another forkserver when the one there was is gone."""

    def __init__(self, log_level: str, metrics: Metrics) -> None:
        self._log_level = log_level
        self._metrics = metrics
        self._running: dict[Child, Labels] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._waiting: deque[asyncio.Future[tuple[int, int]]] = deque()
        self._messages = decoder(FromForkserver)

    def pids(self) -> list[int]:
        """This process, the forkserver, and every child that runs."""
        return [pid for _, pid in self.processes()]

    def processes(self) -> list[tuple[Labels, int]]:
        """What the metrics call each process of the service, and its id."""
        found = [(_labels("supervisor"), os.getpid())]
        if self._process is not None:
            found.append((_labels("forkserver"), self._process.pid))
        return found + [(labels, child.pid) for child, labels in self._running.items()]

    async def start(self, role: str, title: str) -> Child:
        """A new child in `role`. Raises ChildDied if the forkserver ends meanwhile."""
        if self._channel is None:
            self._start_forkserver()
        assert self._channel is not None
        ours, theirs = Channel.pair()
        try:
            self._channel.send(Fork(role, title).encode(), [theirs.fileno()])
            future: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            pid, pidfd = await asyncio.shield(future)
        except BaseException:
            # The child, if it comes to life, reads end of file and goes.
            ours.close()
            raise
        finally:
            theirs.close()
        child = Child(title, pid, pidfd, ours, self._ended)
        self._running[child] = _labels(role, title)
        self._metrics.add("process_start_total", 1, self._running[child])
        return child

    def _ended(self, child: Child) -> None:
        labels = self._running.pop(child)
        if not child.stopping:
            self._metrics.add("process_death_total", 1, labels)

    def _start_forkserver(self) -> None:
        ours, theirs = Channel.pair()
        root = str(Path(__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "serving.forkserver", str(theirs.fileno())]
        # Inherited, so that Ctrl-C in the shell cannot hit it before it ignores signals itself.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            self._process = subprocess.Popen(
                [*command, self._log_level],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                # Gateways face the network and workers parse models; neither needs a secret.
                env={**_THREADS, **without_secrets(os.environ), "PYTHONPATH": path},
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
        self._channel = ours
        asyncio.get_running_loop().add_reader(ours, self._receive)

    def _receive(self) -> None:
        assert self._channel is not None
        received = self._channel.receive()
        if received is None:
            self._forget()
            return
        message: Forked = self._messages.decode(received[0])
        future, (pidfd,) = self._waiting.popleft(), received[1]
        if future.cancelled():
            os.close(pidfd)
        else:
            future.set_result((message.pid, pidfd))

    def _forget(self) -> None:
        if self._channel is not None and self._process is not None:
            asyncio.get_running_loop().remove_reader(self._channel)
            self._channel.close()
            self._process.kill()
            self._process.wait()
        self._channel = self._process = None
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(ChildDied("the forkserver ended"))

    def close(self) -> None:
        """End the forkserver."""
        self._forget()


def _labels(role: str, title: str = "") -> Labels:
    """`pen:flights` is a worker, `pen:pre:flights` a stage of flights; the others have no model."""
    model = title.rpartition(":")[2] if role in ("worker", "stage") else ""
    return (("role", role), ("model", model))
