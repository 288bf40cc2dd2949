"""The writer: collects records by version, and writes a file when there are enough or it is time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa

from registry.logs import get_logger
from registry.models.signature import Signature
from serving.gateway.metrics import Metrics
from serving.requestlog.files import LogFiles
from serving.requestlog.record import Record
from serving.requestlog.table import Shape

log = get_logger(__name__)
ROWS, DROPPED = "request_log_rows_total", "request_log_dropped_total"
#: Files that may wait for the disk; what comes meanwhile is dropped.
WAITING = 2
#: Versions whose signatures are known. The service serves a few at a time.
MOST_VERSIONS = 64
#: What a record takes besides its numbers and texts, roughly.
OVERHEAD = 200

#: A model and its version.
Key = tuple[str, str]


@dataclass
class Buffer:
    """Records of one version that are in no file yet."""

    since: float
    records: list[Record] = field(default_factory=list)
    size: int = 0

    def add(self, record: Record) -> None:
        """Hold one more."""
        texts = sum(len(text or "") for column in record.texts for text in column)
        self.size += OVERHEAD + len(record.inputs) + len(record.outputs) + texts
        self.records.append(record)


class Writer:
    """Takes records from one thread and writes on another.

    A version's records become a file when they take `most` bytes, or the oldest has waited for `age`
    seconds. What is not in a file when this process is killed is lost.
    """

    def __init__(
        self,
        files: LogFiles,
        metrics: Metrics,
        *,
        most: int,
        age: float,
        omitted: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = files
        self._metrics = metrics
        self._most, self._age = most, age
        self._omitted = omitted
        self._clock = clock
        self._shapes: dict[Key, Shape] = {}
        self._buffers: dict[Key, Buffer] = {}
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="disk")
        self._writing: list[tuple[Future[None], Key, list[Record]]] = []

    def know(self, model: str, version: str, signature: Signature) -> None:
        """Records of this version may come."""
        while len(self._shapes) >= MOST_VERSIONS:
            self._shapes.pop(next(iter(self._shapes)))
        self._shapes[model, version] = Shape(signature, self._omitted)

    def take(self, records: Sequence[Record]) -> None:
        """Hold records, or drop and count them."""
        for record in records:
            key = (record.model, record.version)
            shape = self._shapes.get(key)
            if shape is None or not shape.fits(record):
                self._drop("unknown")
                continue
            if len(self._writing) >= WAITING and not self._settled():
                self._drop("disk")
                continue
            buffer = self._buffers.setdefault(key, Buffer(self._clock()))
            buffer.add(record)
            if buffer.size >= self._most:
                self._begin(key)

    def look(self) -> None:
        """Write what has waited long enough; called about once a second."""
        self._settled()
        now = self._clock()
        for key in [k for k, buffer in self._buffers.items() if now - buffer.since >= self._age]:
            self._begin(key)

    def close(self) -> None:
        """Write everything."""
        for key in list(self._buffers):
            self._begin(key)
        self._disk.shutdown(wait=True)
        self._settled()

    def _begin(self, key: Key) -> None:
        records = self._buffers.pop(key).records
        future = self._disk.submit(self._write, key, self._shapes[key], records)
        self._writing.append((future, key, records))

    def _write(self, key: Key, shape: Shape, records: list[Record]) -> None:
        self._files.write(*key, shape.table(records))
        self._files.keep_to_budget()

    def _settled(self) -> bool:
        """Count files that are written; whether there is room for more."""
        for entry in [entry for entry in self._writing if entry[0].done()]:
            self._writing.remove(entry)
            self._count(*entry)
        return len(self._writing) < WAITING

    def _count(self, future: Future[None], key: Key, records: list[Record]) -> None:
        try:
            future.result()
        except (OSError, pa.ArrowException) as error:
            # Full or not writable: the service goes on, and so does the log when it can.
            log.error("request log not written", model=key[0], reason=str(error))
            self._drop("disk", len(records))
        else:
            labels = (("model", key[0]), ("version", key[1]))
            self._metrics.add(ROWS, sum(record.rows for record in records), labels)

    def _drop(self, reason: str, count: int = 1) -> None:
        self._metrics.add(DROPPED, count, (("reason", reason),))
