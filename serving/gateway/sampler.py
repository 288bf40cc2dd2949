"""A gateway's side of the request log: picks requests, and tells of each once it is answered.

Nothing here waits or fails a request: an answer is on its way before its record is made, and what the
queue does not take at once is dropped and counted.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from registry.models.signature import Column, Matrix
from serving.errors import RequestError
from serving.gateway import trace
from serving.gateway.inputs import Columns, Inputs, Rows
from serving.gateway.metrics import Metrics
from serving.gateway.served import Served
from serving.gateway.work import Stale, Work
from serving.requestlog.record import FRAME, Record, frame, text_of

#: Seconds that records wait for company.
COMPANY = 0.05
DROPPED = "request_log_dropped_total"
REASON = (("reason", "queue"),)


class Sampler:
    """Tells of a `share` (above 0, to 1) of the requests that are admitted, through `queue`."""

    def __init__(
        self, share: float, queue: socket.socket, metrics: Metrics, clock: Callable[[], float]
    ) -> None:
        self._share = share
        self._queue = queue
        self._metrics = metrics
        self._clock = clock
        self._pieces: list[bytes] = []
        self._size = 0

    def watch(self, work: Work, names: bytes, served: Served) -> None:
        """Tell of this work once it is settled, if chance will have it.

        `names` are the request's (`serving.gateway.trace`). A request whose client goes first is not
        told of, nor is one of a model with stages: its rows are not those of the signature. `served`
        is what it was encoded for.
        """
        if served.staged or random.random() >= self._share:
            return
        # A work lets go of what was asked when it is settled.
        finish, source, matrix, encoding = work.finish, work.source, work.matrix, work.encoding
        assert matrix is not None

        def finished(work: Work) -> None:
            finish(work)
            by: Served = work.pin or served
            try:
                asked = matrix if by.encoding == encoding else by.encode(source)
            except (RequestError, Stale):  # a newer one refuses it, or has a stage
                by, asked = served, matrix
            self._take(self._record(work, names, by, asked, source))

        work.finish = finished

    def _record(
        self, work: Work, names: bytes, by: Served, asked: Matrix, source: Inputs
    ) -> Record:
        latency = self._clock() - work.admitted
        answered = work.result if work.error is None else None
        return Record(
            by.announced.model,
            by.version,
            by.announced.revision,
            trace.fields(names)["request"],
            time.time() - latency,
            latency,
            200 if work.error is None else work.error.status,
            0,
            len(asked),
            asked.tobytes(),
            [[text_of(v) for v in _column(source, by, name)] for name in by.encoder.texts],
            answered.tobytes() if answered is not None else b"",
        )

    def _take(self, record: Record) -> None:
        if not self._pieces:
            asyncio.get_running_loop().call_later(COMPANY, self.flush)
        told = 0
        for piece in record.pieces():
            if self._size + len(piece) > FRAME:
                self.flush()
            self._pieces.append(piece)
            self._size += len(piece)
            told += 1
        if not told:
            self._metrics.add(DROPPED, 1, REASON)

    def flush(self) -> None:
        """Hand over what there is, if the queue takes it."""
        pieces, self._pieces, self._size = self._pieces, [], 0
        if not pieces:
            return
        try:
            self._queue.send(frame(pieces), socket.MSG_DONTWAIT)
        except OSError:
            self._metrics.add(DROPPED, len(pieces), REASON)


def _column(source: Any, by: Served, name: str) -> Column:
    """What was asked in one column, as it came."""
    match source:
        case Columns():
            return source.values[name]
        case Rows():
            values: Any = source.flat
            column: Column = values[by.encoder.names.index(name) :: source.width]
            return column
    return np.empty(0)  # a grid has no texts
