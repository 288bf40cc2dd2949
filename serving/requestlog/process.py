"""The process that writes the request log."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from registry.errors import PenstockError
from registry.logs import configure, get_logger
from serving.channel import Channel
from serving.errors import ChildDied
from serving.gateway.metrics import Metrics
from serving.gateway.served import VERSION_DIGITS
from serving.messages import Announce, Counts, Tick, decoder
from serving.requestlog.messages import StartLog, ToLog
from serving.requestlog.record import FRAME, Record, read_frame

if TYPE_CHECKING:
    from serving.requestlog.writer import Writer

log = get_logger(__name__)
_decode = decoder(ToLog).decode
#: Whoever answers requests goes first.
NICE = 10
#: Messages that are read before the supervisor is listened to again.
MOST_FRAMES = 256


def main(channel: Channel) -> None:
    """Write what gateways tell until the supervisor closes the channel; then all that is left."""
    received = channel.receive()
    if received is None:
        return
    start, (queue,) = _decode(received[0]), received[1]
    assert isinstance(start, StartLog)
    configure(start.log_level)
    os.nice(NICE)
    # Not at the top: this module is loaded before the fork, and Arrow must not be.
    from serving.requestlog.files import LogFiles
    from serving.requestlog.writer import Writer

    files, metrics = LogFiles(Path(start.folder), start.budget), Metrics()
    files.sweep()
    writer = Writer(
        files, metrics, most=start.file_bytes, age=start.file_seconds, omitted=start.omitted
    )
    LogProcess(channel, socket.socket(fileno=queue), writer, metrics).run()


class LogProcess:
    """Listens to the supervisor and to the queue."""

    def __init__(
        self, channel: Channel, queue: socket.socket, writer: Writer, metrics: Metrics
    ) -> None:
        self._channel = channel
        self._queue = queue
        self._writer = writer
        self._metrics = metrics

    def run(self) -> None:
        """Until the channel ends."""
        either = select.poll()
        either.register(self._channel.fileno(), select.POLLIN)
        either.register(self._queue, select.POLLIN)
        # All that was said comes first: a version is announced before a request of it is answered.
        while self._listen():
            self._take(MOST_FRAMES)
            self._writer.look()
            either.poll(1000)
        while self._take(MOST_FRAMES):
            pass
        self._writer.close()

    def _listen(self) -> bool:
        """Obey all messages that wait; whether there may be others."""
        control = select.poll()
        control.register(self._channel.fileno(), select.POLLIN)
        while control.poll(0):
            if not self._obey():
                return False
        return True

    def _obey(self) -> bool:
        received = self._channel.receive()
        if received is None:
            return False
        message: Any = _decode(received[0])
        if isinstance(message, Announce):
            self._know(message)
        elif isinstance(message, Tick):
            series = [(name, labels, n) for (name, labels), n in self._metrics.values().items()]
            with contextlib.suppress(ChildDied):
                self._channel.send(Counts(series).encode())
        return True

    def _know(self, announced: Announce) -> None:
        # Loaded late for the same reason as above.
        from registry.models.bundle import Bundle

        try:
            signature = Bundle.read(Path(announced.folder)).signature
        except PenstockError as error:
            log.error("version not logged", model=announced.model, reason=str(error))
        else:
            self._writer.know(announced.model, announced.version[:VERSION_DIGITS], signature)

    def _take(self, most: int) -> bool:
        """Hand what waits in the queue to the writer; whether there was anything."""
        taken = False
        for records in self._waiting(most):
            taken = True
            self._writer.take(records)
        return taken

    def _waiting(self, most: int) -> Iterator[list[Record]]:
        for _ in range(most):
            try:
                data = self._queue.recv(2 * FRAME, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if not data:
                return
            with contextlib.suppress(msgspec.MsgspecError):
                yield read_frame(data)
