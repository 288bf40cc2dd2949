"""Parquet written as it comes, whose bytes depend on its rows alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.tables import ROW_GROUP


class RowWriter:
    """Writes batches to `path` in row groups of one size, however the batches were cut."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._held: list[pa.RecordBatch] = []
        self._rows = 0
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            use_dictionary=[field.name for field in schema if not _encoding(field)],
            column_encoding={f.name: _encoding(f) for f in schema if _encoding(f)} or None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is None:
            self._write(self._rows)
        self._writer.close()

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in rows."""
        self._held.append(batch)
        self._rows += batch.num_rows
        if self._rows >= ROW_GROUP:
            self._write(self._rows // ROW_GROUP * ROW_GROUP)

    def _write(self, rows: int) -> None:
        if not rows:
            return
        table = pa.Table.from_batches(self._held, self._schema)
        self._writer.write_table(table.slice(0, rows), row_group_size=ROW_GROUP)
        self._held = table.slice(rows).to_batches()
        self._rows -= rows


def join(
    paths: Iterable[Path], out: Path, see: Callable[[pa.RecordBatch], object] | None = None
) -> int:
    """Write the rows of `paths`, which have one schema, to `out`, in order; how many there are.

    `see` is shown every batch.

    `out` has the bytes that it would have if its rows had been written to it at once.
    """
    rows = 0
    files = list(paths)
    with RowWriter(out, pq.read_schema(files[0])) as writer:
        for path in files:
            with pq.ParquetFile(path, pre_buffer=False) as file:
                for batch in file.iter_batches(ROW_GROUP, use_threads=False):
                    writer.add(batch)
                    rows += batch.num_rows
                    if see:
                        see(batch)
    return rows


def sync(path: Path) -> None:
    """Have the file, or the names in the folder, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _encoding(field: pa.Field) -> str | None:
    """What suits the column better than a dictionary; floats so take 89 bytes for 28 of 4."""
    if pa.types.is_floating(field.type) and field.type.bit_width > 16:
        return "BYTE_STREAM_SPLIT"
    if pa.types.is_int32(field.type) or pa.types.is_int64(field.type):
        return "DELTA_BINARY_PACKED"
    return None
