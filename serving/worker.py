"""The worker process: loads one model, proves that it works, then only predicts."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from registry.errors import PenstockError, Refused
from registry.logs import configure, get_logger
from registry.models.bundle import Bundle
from registry.models.golden import check_golden
from registry.models.predictor import open_predictor
from registry.models.protocol import Predictor
from registry.models.signature import Encoder, Matrix
from registry.reports import reports
from registry.settings import Settings
from serving.channel import Channel
from serving.contract import check_contract
from serving.errors import ChildDied, ServingError
from serving.footprint import Footprint
from serving.frame import Frame, Kind
from serving.link import WorkerEnd
from serving.messages import (
    Answered,
    Attach,
    Load,
    Loading,
    ToWorker,
    Unfit,
    Validated,
    Warming,
    decoder,
)

log = get_logger(__name__)
_decode = decoder(ToWorker).decode


def main(channel: Channel) -> None:
    """Serve until the supervisor goes away or closes the channel."""
    received = channel.receive()
    if received is None:
        return
    load = _decode(received[0])
    assert isinstance(load, Load)
    configure(load.log_level)
    try:
        predictor, validated = prepare(load, channel)
    except PenstockError as error:
        channel.send(Unfit(str(error)[:2000]).encode())
        return
    channel.send(validated.encode())
    Worker(channel, predictor).run()


def prepare(load: Load, channel: Channel) -> tuple[Predictor, Validated]:
    """Open, warm up and check the model in `load.folder`, at a lower priority.

    Niceness belongs to a thread and cannot be taken back without privileges, so a thread of its own
    loads, and is gone before the first request.

    Raises:
        PenstockError: the bundle must not serve; a crash or a hang is the supervisor's to see.
    """
    with ThreadPoolExecutor(1, initializer=_be_nice, initargs=(load.nice,)) as loader:
        return loader.submit(_prepare, load, channel).result()


def _be_nice(nice: int) -> None:
    """Of this thread alone, and on top of what the service was started with."""
    thread = threading.get_native_id()
    current = os.getpriority(os.PRIO_PROCESS, thread)
    os.setpriority(os.PRIO_PROCESS, thread, current + nice)


def _prepare(load: Load, channel: Channel) -> tuple[Predictor, Validated]:
    before = Footprint.read()
    bundle = Bundle.read(Path(load.folder))
    if bundle.header.stages:
        stages = ", ".join(bundle.header.stages)
        raise Refused("the bundle needs stages that this service does not have", stages)
    if load.contract:
        check_contract(Bundle.read(Path(load.contract)).signature, bundle.signature)
    channel.send(Loading().encode())
    images = Path(Settings.load().var).absolute() / "cache" / "forest"
    times: dict[str, float] = {}
    with _timed(times, "load"):
        predictor = open_predictor(bundle, load.threads, images)
    channel.send(Warming().encode())
    rows = Encoder(bundle.signature).encode_rows(bundle.golden.rows)
    with _timed(times, "warm"):
        _warm_up(predictor, rows, load.rows)
    with _timed(times, "golden"):
        check_golden(predictor, bundle.signature, bundle.golden)
    grown = Footprint.read().growth_since(before)
    width = len(bundle.signature.inputs), len(bundle.signature.outputs)
    return predictor, Validated(*width, *grown, times)


@contextlib.contextmanager
def _timed(times: dict[str, float], stage: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    times[stage] = time.monotonic() - begun


def _warm_up(predictor: Predictor, rows: Matrix, largest: int) -> None:
    """Predict batches of 1, 2, 4 … `largest` rows, so that no request pays for a first time."""
    size = 1
    while size <= largest:
        predictor.predict(np.ascontiguousarray(np.resize(rows, (size, rows.shape[1]))))
        size *= 2


class Worker:
    """Answers the loans of every link it was given, in the order in which they come."""

    def __init__(self, channel: Channel, predictor: Predictor) -> None:
        self._channel = channel
        self._predictor = predictor
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
        link = WorkerEnd(message.layout, received[1])
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
        if frame.deadline and begun > frame.deadline:
            link.answer(frame, Kind.EXPIRED, 0)
            return
        try:
            self._predict(link, frame)
        except Exception as error:  # noqa: BLE001 - a model may raise anything; rows are retried
            log.warning("predict failed", rows=frame.length, error=repr(error))
            reports.report("predict failed", error, rows=frame.length)
            link.answer(frame, Kind.FAILURE, time.monotonic_ns() - begun, repr(error))
        else:
            link.answer(frame, Kind.RESULT, time.monotonic_ns() - begun)
        if not self._answered:
            self._answered = True
            with contextlib.suppress(ChildDied):
                self._channel.send(Answered().encode())

    def _predict(self, link: WorkerEnd, frame: Frame) -> None:
        result = self._predictor.predict(link.inputs(frame))
        outputs = link.outputs(frame)
        if result.shape != outputs.shape:
            # A silent misalignment would hand answers to the wrong callers.
            raise ServingError(f"the model gave {result.shape} values for {outputs.shape}")
        outputs[:] = result
