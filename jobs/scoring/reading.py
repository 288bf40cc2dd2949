"""Row groups as batches, read ahead in a thread."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.scoring.ranges import Range, RangeFile
from jobs.scoring.sources import Piece, Source

#: Batches that are read before anybody asks for them.
AHEAD = 2
T = TypeVar("T")


@dataclass(frozen=True)
class Chunk:
    """Rows of one file, `first` the number of the first one in it."""

    source: str
    first: int
    batch: pa.RecordBatch


def read(
    pieces: Iterable[Piece],
    columns: Sequence[str],
    rows: int,
    check: Callable[[Source, pa.Schema], None],
) -> Iterator[Chunk]:
    """The `columns` of the pieces, in order, in chunks of at most `rows`.

    `check` is asked about the schema of each file, and raises what does not fit.

    Raises:
        NotFound, BadData, StoreError: a file is gone, ends early, or cannot be reached.
    """
    for source, group in itertools.groupby(pieces, lambda piece: piece.source):
        with source.open() as (file, distant):
            check(source, file.schema_arrow)
            yield from _of_file(file, distant, list(group), columns, rows)


def _of_file(
    file: pq.ParquetFile,
    distant: RangeFile | None,
    pieces: list[Piece],
    columns: Sequence[str],
    rows: int,
) -> Iterator[Chunk]:
    for number, piece in enumerate(pieces):
        if distant is not None:  # this row group and the next are fetched
            near = pieces[number : number + 2]
            distant.expect([r for p in near for r in _ranges(file.metadata, p.group, columns)])
        first = piece.first
        for batch in file.iter_batches(
            rows, row_groups=[piece.group], columns=list(columns), use_threads=False
        ):
            yield Chunk(piece.source.name, first, batch)
            first += batch.num_rows


def _ranges(metadata: pq.FileMetaData, group: int, columns: Sequence[str]) -> Iterator[Range]:
    wanted = set(columns)
    found = metadata.row_group(group)
    for number in range(found.num_columns):
        column = found.column(number)
        if column.path_in_schema.partition(".")[0] in wanted:
            start = column.dictionary_page_offset or column.data_page_offset
            yield start, start + column.total_compressed_size


def ahead(items: Iterator[T], depth: int = AHEAD) -> Generator[T, None, None]:
    """The items, made in a thread that is `depth` of them in front. Closing it ends the thread."""
    made: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: tuple[T] | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                made.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((item,)):
                    return
            put(None)
        except BaseException as error:  # noqa: BLE001 (raised again in the thread that asks)
            put(error)

    thread = threading.Thread(target=work, name="reader", daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
    finally:
        stop.set()
        thread.join()
