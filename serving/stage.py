"""The stage process: a worker that runs a use case's own Python before or after the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from registry.errors import BadData
from registry.models.bundle import Bundle
from registry.models.places import Place
from registry.models.signature import Input, Matrix
from registry.models.stage import Ready, open_stage
from registry.models.stages import StageUse, width_of
from serving.answering import Answering, live
from serving.channel import Channel
from serving.errors import RequestError, ServingError
from serving.footprint import Footprint
from serving.frame import Frame
from serving.link import WorkerEnd
from serving.messages import Load, Validated


def main(channel: Channel) -> None:
    """Serve until the supervisor goes away or closes the channel."""
    live(channel, _prepare, StageWorker)


class Loaded:
    """A stage that has shown that it works, and what it takes."""

    def __init__(self, ready: Ready, use: StageUse) -> None:
        self.ready = ready
        self.inputs = use.inputs


def _prepare(load: Load, channel: Channel) -> tuple[Loaded, Validated]:  # noqa: ARG001 - see `live`
    """Make the stage ready that the bundle in `load.folder` names at `load.place`.

    Raises:
        PenstockError: this code lacks it, or it does not do what it did when the bundle was made.
    """
    before = Footprint.read()
    bundle = Bundle.read(Path(load.folder))
    place: Place = "pre" if load.place == "pre" else "post"
    use = bundle.header.stages.at(place)
    if use is None:
        raise BadData("the bundle has no such stage", place, "Make the bundle again.")
    ready = open_stage(use, place, bundle.signature)
    grown = Footprint.read().growth_since(before)
    gives = len(bundle.signature.inputs if place == "pre" else use.outputs)
    return Loaded(ready, use), Validated(width_of(use.inputs), gives, *grown, batch=ready.batch)


class StageWorker(Answering):
    """Answers loans with what its stage makes of their rows."""

    shares = True

    def __init__(self, channel: Channel, loaded: Loaded) -> None:
        super().__init__(channel)
        self._stage = loaded.ready
        self._inputs = loaded.inputs

    def _compute(self, link: WorkerEnd, frame: Frame) -> None:
        columns = columns_of(self._inputs, link.inputs(frame), link.payloads)
        try:
            link.outputs(frame)[:] = self._stage.apply(columns, frame.length)
        except BadData as error:
            raise RequestError(error.what, error.why) from None


def columns_of(inputs: Sequence[Input], matrix: Matrix, payloads: memoryview) -> dict[str, Any]:
    """The rows of a matrix as `Stage.apply` takes them; see `gateway.payload` for how they travel."""
    columns: dict[str, Any] = {}
    at = 0
    for member in inputs:
        if member.type == "bytes":
            columns[member.name] = [
                _cut(payloads, *where) for where in matrix[:, at : at + 2].tolist()
            ]
            at += 2
        else:
            columns[member.name] = matrix[:, at]
            at += 1
    return columns


def _cut(payloads: memoryview, start: float, size: float) -> memoryview | None:
    if math.isnan(start):
        return None
    payload = payloads[int(start) : int(start) + int(size)]
    if len(payload) != size:
        # An empty payload in its place would be a wrong answer.
        raise ServingError("a row points at bytes that the gateway does not share")
    return payload
