"""The life of a process that answers links: a worker, or a stage."""

from __future__ import annotations

import contextlib
import select
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, ClassVar, TypeVar

from registry.errors import PenstockError
from registry.logs import configure, get_logger
from registry.reports import reports
from serving.channel import Channel
from serving.errors import ChildDied, RequestError
from serving.frame import Frame, Kind
from serving.link import WorkerEnd
from serving.messages import Answered, Attach, Load, Starving, ToWorker, Unfit, Validated, decoder
from serving.standing_back import is_starved, leave_quietly, stand_back

log = get_logger(__name__)
#: Seconds between two looks at a thread that loads.
LOOK = 0.2
_decode = decoder(ToWorker).decode
T = TypeVar("T")


def live(
    channel: Channel,
    prepare: Callable[[Load, Channel], tuple[T, Validated]],
    role: Callable[[Channel, T], Answering],
) -> None:
    """The life of a child that loads something, proves that it works, then answers links.

    `prepare` gives what it loaded and the proof; it raises PenstockError where the bundle must not
    serve. A crash or a hang is the supervisor's to see.
    """
    received = channel.receive()
    if received is None:
        return
    load = _decode(received[0])
    assert isinstance(load, Load)
    configure(load.log_level)
    try:
        loaded, validated = _nicely(load, prepare, channel)
    except PenstockError as error:
        channel.send(Unfit(str(error)[:2000]).encode())
        return
    channel.send(validated.encode())
    role(channel, loaded).run()
    leave_quietly()


def _nicely(
    load: Load, prepare: Callable[[Load, Channel], tuple[T, Validated]], channel: Channel
) -> tuple[T, Validated]:
    """Prepare at a lower priority, in a thread of its own that is gone before the first request.

    If it gets no time there, the supervisor is told, and ends this process.
    """
    threads: list[int] = []

    def begin() -> None:
        threads.append(threading.get_native_id())
        stand_back(load.nice, idle=load.idle)

    told = False
    with ThreadPoolExecutor(1, initializer=begin) as loader:
        loading = loader.submit(prepare, load, channel)
        while wait([loading], LOOK).not_done:
            if load.idle and not told and is_starved(threads[0]):
                channel.send(Starving().encode())
                told = True
        return loading.result()


class Answering(ABC):
    """Answers the loans of every link it was given, in the order in which they come."""

    #: Whether gateways share payloads with it.
    shares: ClassVar[bool] = False

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._links: dict[int, WorkerEnd] = {}
        self._poll = select.poll()
        self._answered = False

    def run(self) -> None:
        """Serve until the channel ends."""
        control = self._channel.fileno()
        self._poll.register(control, select.POLLIN)
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor != control:
                    self._serve(self._links[descriptor])
                elif not self._obey():
                    return

    def _obey(self) -> bool:
        received = self._channel.receive()
        if received is None:
            return False
        message: Any = _decode(received[0])
        assert isinstance(message, Attach)
        link = WorkerEnd(message.layout, received[1], shares=self.shares)
        self._links[link.fileno()] = link
        self._poll.register(link.fileno(), select.POLLIN)
        return True

    def _serve(self, link: WorkerEnd) -> None:
        frame = link.receive()
        if frame is None:
            # The gateway has closed this link or died; another one will come from the supervisor.
            self._poll.unregister(link.fileno())
            del self._links[link.fileno()]
            link.close()
            return
        begun = time.monotonic_ns()
        if frame.kind == Kind.SHARE:
            return
        if frame.deadline and begun > frame.deadline:
            link.answer(frame, Kind.EXPIRED, 0)
            return
        try:
            self._compute(link, frame)
        except RequestError as error:
            link.answer(frame, Kind.REFUSED, time.monotonic_ns() - begun, str(error))
        except Exception as error:  # noqa: BLE001 - a model may raise anything; rows are retried
            log.warning("batch failed", rows=frame.length, error=repr(error))
            reports.report("batch failed", error, rows=frame.length)
            link.answer(frame, Kind.FAILURE, time.monotonic_ns() - begun, repr(error))
        else:
            link.answer(frame, Kind.RESULT, time.monotonic_ns() - begun)
        if not self._answered:
            self._answered = True
            with contextlib.suppress(ChildDied):
                self._channel.send(Answered().encode())

    @abstractmethod
    def _compute(self, link: WorkerEnd, frame: Frame) -> None:
        """Write the answer to the loan `frame`.

        Raises:
            RequestError: a row cannot be read; the text is for its client.
            Exception: whatever a model or a stage may raise; the rows are tried again one by one.
        """
