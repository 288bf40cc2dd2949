"""The engine: chunks in, read ahead; matrices and predictions on every core; rows out, in order.

Reading is one thread, since Arrow decodes faster than models predict. Each worker takes a chunk
through screening, matrix and model. What is under way is bounded, so memory is as well.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from jobs.scoring.quarantine import Quarantine
from jobs.scoring.reading import Chunk, ahead, read
from jobs.scoring.rules import Rules
from jobs.scoring.screen import Bad, screen
from jobs.scoring.sources import Piece, Source
from jobs.scoring.writing import RowWriter
from registry.errors import BadData, UsageError
from registry.models.bundle import Bundle
from registry.models.protocol import Predictor
from registry.models.signature import Matrix, Signature
from registry.models.tables import check_schema

#: Rows of a chunk: at most so many, and fewer where rows are wide.
_ROWS, _CELLS = 32_768, 1 << 20

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Columns:
    """What goes along with the outputs: `ids`, which must be there, and `carried`, which need not.

    `types` are those of the output where they differ from the input's; `constant` texts are the same
    in every row.
    """

    ids: Sequence[str] = ()
    carried: Sequence[str] = ()
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    constant: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Ids and carried columns, each once."""
        return list(dict.fromkeys([*self.ids, *self.carried]))

    def schema(self, found: pa.Schema, signature: Signature) -> pa.Schema:
        """The schema of the output for an input of schema `found`.

        Raises:
            BadData: the input lacks a column.
            UsageError: a column has the name of an output.
        """
        missing = [name for name in self.names if found.get_field_index(name) < 0]
        if missing:
            raise BadData(
                f"no column {', '.join(missing)} to carry along",
                f"the file has {', '.join(found.names[:40])}",
                "Name columns of the file.",
            )
        clash = {output.name for output in signature.outputs} & set(self.names)
        if clash:
            name = ", ".join(sorted(clash))
            raise UsageError(f"{name} is an output of the model", "", "Rename it.")
        fields = [pa.field(n, self.types.get(n, found.field(n).type)) for n in self.names]
        fields += [pa.field(o.name, pa.float64(), nullable=False) for o in signature.outputs]
        return pa.schema(fields + [pa.field(name, pa.string()) for name in self.constant])


class Scored(NamedTuple):
    """Rows that were written, rows that were left out, and the sum of the first output."""

    rows: int
    quarantined: int
    total: float


class _Part(NamedTuple):
    """What became of a chunk."""

    chunk: Chunk
    rows: pa.RecordBatch
    first: Matrix
    bad: Sequence[Bad]


@dataclass(frozen=True)
class Engine:
    """Scores with `predictor`, opened for one thread, on `threads` of them."""

    bundle: Bundle
    predictor: Predictor
    columns: Columns
    rules: Rules
    threads: int

    def run(
        self,
        pieces: Sequence[Piece],
        schema: pa.Schema,
        out: Path,
        quarantine: Path,
        most: int,
        progress: Progress | None = None,
        *,
        bad_before: int = 0,
    ) -> Scored:
        """Score `pieces` of files with the `schema`; write `out`, and `quarantine` if a row is bad.

        Raises:
            NotFound, BadData, StoreError: a file cannot be read or does not fit; more than `most`
                rows are bad, together with those `bad_before`.
        """
        written = self.columns.schema(schema, self.bundle.signature)
        kept = Quarantine(quarantine, most, bad_before)
        rows, total = 0, 0.0
        try:
            with RowWriter(out, written) as writer, closing(self._parts(pieces, written)) as parts:
                for part in parts:
                    writer.add(part.rows)
                    kept.add(part.chunk, self.columns.ids, part.bad)
                    rows += part.rows.num_rows
                    total += float(part.first.sum())
                    if progress:
                        progress(part.chunk.batch.num_rows)
        finally:
            kept.close()
        return Scored(rows, kept.rows, total)

    def _parts(self, pieces: Sequence[Piece], schema: pa.Schema) -> Generator[_Part, None, None]:
        """The parts in order, `threads` and one more under way."""
        wanted = [*self.columns.names, *self.bundle.signature.names]
        rows = max(256, min(_ROWS, _CELLS // len(wanted)))
        read_ahead = ahead(read(pieces, list(dict.fromkeys(wanted)), rows, self._check(schema)))
        under_way: deque[Future[_Part]] = deque()
        with (
            ThreadPoolExecutor(self.threads, thread_name_prefix="score") as pool,
            closing(read_ahead) as chunks,
        ):
            try:
                for chunk in chunks:
                    under_way.append(pool.submit(self._part, chunk, schema))
                    if len(under_way) > self.threads:
                        yield under_way.popleft().result()
                while under_way:
                    yield under_way.popleft().result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _part(self, chunk: Chunk, schema: pa.Schema) -> _Part:
        found = screen(self.bundle.signature, chunk.batch, self.columns.ids, self.rules.infinite)
        outputs = self.predictor.predict(found.matrix(self.bundle.flavor == "catboost"))
        columns = [
            found.keep(chunk.batch.column(name)).cast(schema.field(name).type)
            for name in self.columns.names
        ]
        columns += [pa.array(np.ascontiguousarray(column)) for column in outputs.T]
        columns += [
            pa.repeat(pa.scalar(text, pa.string()), len(outputs))
            for text in self.columns.constant.values()
        ]
        return _Part(chunk, pa.record_batch(columns, schema=schema), outputs[:, 0], found.bad)

    def _check(self, written: pa.Schema) -> Callable[[Source, pa.Schema], None]:
        def check(source: Source, found: pa.Schema) -> None:
            try:
                check_schema(self.bundle.signature, found, lenient=True)
                types = self.columns.schema(found, self.bundle.signature).types
            except BadData as error:
                raise BadData(f"{source.name}: {error.what}", error.why, error.todo) from None
            if types != written.types:
                raise BadData(
                    f"{source.name}: columns to carry along have other types than in the first file",
                    f"{', '.join(map(str, types))}; first {', '.join(map(str, written.types))}",
                    "Give all files the same types, or score them one by one.",
                )

        return check


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
