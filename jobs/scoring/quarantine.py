"""The rows that were left out: a Parquet file that names each with its reason, under a limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.scoring.reading import Chunk
from jobs.scoring.screen import Bad, identity
from registry.errors import BadData

SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("id", pa.string()),
        pa.field("column", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)
#: Lines held before they are written, and those that an error shows.
_HELD, _SHOWN = 20_000, 5
MEND = "Mend the rows, or allow more: --quarantine-limit, or `quarantine` in the settings."


class Quarantine:
    """Writes a line for each bad value to `path`, and refuses more than `most` bad rows.

    `before` rows were bad already, elsewhere.

    The file is there after `close` if a row was bad. `source` is a file, `row` counts in it from 0.
    """

    def __init__(self, path: Path, most: int, before: int = 0) -> None:
        self._path, self._most, self._before = path, most, before
        self._lines: list[tuple[str, int, str | None, str, str]] = []
        self._writer: pq.ParquetWriter | None = None
        self._first: list[str] = []
        self._columns: Counter[str] = Counter()
        self.rows = 0

    def add(self, chunk: Chunk, ids: Sequence[str], bad: Sequence[Bad]) -> None:
        """Take in the bad values of a chunk. Raises BadData when there are too many bad rows."""
        names: dict[int, str | None] = {}
        for row, column, reason in bad:
            if row not in names:
                names[row] = identity(chunk.batch, ids, row)
            line = (chunk.source, chunk.first + row, names[row], column, reason)
            self._lines.append(line)
            self._columns[column] += 1
            if len(self._first) < _SHOWN:
                self._first.append(_told(*line))
        self.rows += len(names)
        if self._before + self.rows > self._most:
            raise self._too_many()
        if len(self._lines) >= _HELD:
            self._flush()

    def close(self) -> None:
        """Finish the file."""
        self._flush()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _flush(self) -> None:
        if not self._lines:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, SCHEMA, compression="zstd")
        columns = [pa.array(values, field.type)
                   for values, field in zip(zip(*self._lines, strict=True), SCHEMA, strict=True)]  # fmt: skip
        self._writer.write_table(pa.table(columns, schema=SCHEMA))
        self._lines = []

    def _too_many(self) -> BadData:
        counts = ", ".join(f"{name} {count:,}" for name, count in self._columns.most_common(_SHOWN))
        return BadData(
            f"{self._before + self.rows:,} rows so far are bad, where {self._most:,} may be",
            f"bad values by column: {counts}; the first: {'; '.join(self._first)}",
            MEND,
        )


def _told(source: str, row: int, name: str | None, column: str, reason: str) -> str:
    about = f" ({name})" if name else ""
    return f"{source} row {row}{about}, {column} {reason}"


def count_rows(path: Path) -> int:
    """How many rows a quarantine file is about; several lines may be about one."""
    lines = pq.read_table(path, columns=["source", "row"])
    return int(lines.group_by(["source", "row"]).aggregate([]).num_rows)
