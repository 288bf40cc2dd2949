"""The worker process: loads one model, proves that it works, then only predicts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from registry.models.bundle import Bundle
from registry.models.golden import check_golden
from registry.models.predictor import images_of, open_predictor
from registry.models.protocol import Predictor
from registry.models.signature import Encoder, Matrix
from registry.settings import Settings
from serving.answering import Answering, live
from serving.channel import Channel
from serving.contract import check_contract
from serving.errors import ServingError
from serving.footprint import Footprint
from serving.frame import Frame
from serving.link import WorkerEnd
from serving.messages import Load, Loading, Validated, Warming


def main(channel: Channel) -> None:
    """Serve until the supervisor goes away or closes the channel."""
    live(channel, _prepare, Worker)


def _prepare(load: Load, channel: Channel) -> tuple[Predictor, Validated]:
    before = Footprint.read()
    bundle = Bundle.read(Path(load.folder))
    if load.contract:
        check_contract(Bundle.read(Path(load.contract)).public, bundle.public)
    channel.send(Loading().encode())
    times: dict[str, float] = {}
    with _timed(times, "load"):
        predictor = open_predictor(bundle, load.threads, images_of(Settings.load()))
    channel.send(Warming().encode())
    rows = Encoder(bundle.signature).encode_rows(bundle.golden.rows)
    with _timed(times, "warm"):
        _warm_up(predictor, rows, load.rows)
    with _timed(times, "golden"):
        check_golden(predictor, bundle.signature, bundle.golden)
    grown = Footprint.read().growth_since(before)
    width = len(bundle.signature.inputs), len(bundle.signature.outputs)
    return predictor, Validated(*width, *grown, times, bundle.header.stages.places)


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


class Worker(Answering):
    """Predicts what links ask for."""

    def __init__(self, channel: Channel, predictor: Predictor) -> None:
        super().__init__(channel)
        self._predictor = predictor

    def _compute(self, link: WorkerEnd, frame: Frame) -> None:
        result = self._predictor.predict(link.inputs(frame))
        outputs = link.outputs(frame)
        if result.shape != outputs.shape:
            # A silent misalignment would hand answers to the wrong callers.
            raise ServingError(f"the model gave {result.shape} values for {outputs.shape}")
        outputs[:] = result
