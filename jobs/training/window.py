"""Labelled rows of several days, read a chunk at a time: memory does not grow with the window."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.tables import open_table
from jobs.training.memory import release
from jobs.window import Labels, check_classes, check_labels, foreign_labels, known_labels
from registry.errors import BadData
from registry.features.view import FeatureView
from registry.models.signature import Matrix, Signature
from registry.models.tables import encode_table

#: Rows that are decoded and encoded at once: 7 MB as a matrix of 28 columns.
CHUNK = 32_768
Mask = NDArray[np.bool_]
Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Day:
    """The features of a day, which of its rows have a label that counts, and the labels of these."""

    folder: Path
    known: Mask
    labels: Mask

    @property
    def path(self) -> Path:
        """The file of its features."""
        return self.folder / "features.parquet"


@dataclass(frozen=True)
class Window:
    """The rows of `days`, in order, whose label is known; nothing but labels is kept in memory."""

    view: FeatureView
    days: tuple[Day, ...]

    def __len__(self) -> int:
        """How many rows there are."""
        return sum(len(day.labels) for day in self.days)

    @property
    def labels(self) -> Labels:
        """Labels (0 or 1) of shape (rows,), made anew at each question."""
        return np.concatenate([day.labels for day in self.days]).astype(np.float64)

    def batches(
        self, columns: Sequence[str], positions: Positions | None = None
    ) -> Iterator[pa.RecordBatch]:
        """`columns` of all rows, or of those at the ascending `positions`, `CHUNK` at a time.

        Row groups without such a position are not read. Raises BadData like `open_table`.
        """
        first = 0
        for day in self.days:
            with open_table(day.path, columns) as file:
                for batch, known in _known_batches(file, day.known, columns, first, positions):
                    start, first = first, first + int(known.sum())
                    if batch is None:
                        continue
                    rows = np.flatnonzero(known)
                    if positions is not None:
                        rows = rows[_within(positions, start, first) - start]
                    if len(rows):
                        yield batch if len(rows) == len(known) else batch.take(pa.array(rows))
        release()

    def chunks(self, signature: Signature, positions: Positions | None = None) -> Iterator[Matrix]:
        """The rows as the matrices of codes that a model reads, each (rows, inputs)."""
        for batch in self.batches(signature.names, positions):
            yield encode_table(signature, batch)

    def matrix(self, signature: Signature, **layout: Any) -> NDArray[Any]:
        """All rows at once, (rows, inputs), in the `dtype` and `order` of `layout`."""
        whole = np.empty((len(self), len(signature.inputs)), **layout)
        first = 0
        for chunk in self.chunks(signature):
            with np.errstate(over="ignore"):  # beyond float32 is infinity, as the libraries say
                whole[first : first + len(chunk)] = chunk
            first += len(chunk)
        return whole

    def vocabularies(self) -> dict[str, list[str]]:
        """The sorted distinct values of each category."""
        names = [column.name for column in self.view.columns if column.type == "category"]
        found: dict[str, set[str]] = {name: set() for name in names}
        for batch in self.batches(names) if names else ():
            for name in names:
                found[name].update(pc.unique(batch.column(name)).drop_null().to_pylist())
        return {name: sorted(values) for name, values in found.items()}

    def before_last(self, days: int) -> tuple[Window, Window]:
        """The window without its last `days`, and these.

        Raises:
            BadData: no days are left, or one of the two has no rows or one class only.
        """
        if not 0 < days < len(self.days):
            raise BadData(
                f"{days} days cannot be held out of a window of {len(self.days)}",
                "early stopping needs days to learn from, and at least one to stop by",
                "Change `days` of early_stopping, or window_days.",
            )
        parts = Window(self.view, self.days[:-days]), Window(self.view, self.days[-days:])
        for what, part in zip(("before", "of"), parts, strict=True):
            check_classes(
                f"the window of {self.view.name} {what} the last {days} days", part.labels
            )
        return parts

    def rows(self, positions: Positions) -> list[dict[str, Any]]:
        """The features of the rows at the ascending `positions`."""
        batches = self.batches(self.view.names, positions)
        return [row for batch in batches for row in batch.to_pylist()]


def open_window(view: FeatureView, folders: Sequence[Path], before: dt.date) -> Window:
    """The rows of the days in `folders` whose label was known before that day began (00:00 UTC).

    Raises:
        BadData: a file is broken or lacks columns, ids do not match, nothing is left, or all
            labels are equal.
    """
    window = Window(view, tuple(_open_day(view, folder, before) for folder in folders))
    check_labels(view, window.labels, before)
    release()
    return window


def _open_day(view: FeatureView, folder: Path, before: dt.date) -> Day:
    wanted = [view.entity, "label", "known_at"]
    known, labels = [np.empty(0, dtype=bool)], [np.empty(0, dtype=bool)]
    with contextlib.ExitStack() as stack:
        ids = stack.enter_context(open_table(folder / "features.parquet", view.schema.names))
        facts = stack.enter_context(open_table(folder / "labels.parquet", wanted))
        if _groups(ids) != _groups(facts):
            raise foreign_labels(view, folder)
        pairs = zip(_all(ids, [view.entity]), _all(facts, wanted), strict=True)
        for entities, batch in pairs:
            if not entities[view.entity].equals(batch[view.entity]):
                raise foreign_labels(view, folder)
            counts = np.asarray(pc.fill_null(known_labels(batch, before), False))
            known.append(counts)
            labels.append(np.asarray(batch["label"])[counts])
    return Day(folder, np.concatenate(known), np.concatenate(labels))


def _all(file: pq.ParquetFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for group in range(file.num_row_groups):
        yield from file.iter_batches(CHUNK, row_groups=[group], columns=columns, use_threads=False)


def _groups(file: pq.ParquetFile) -> list[int]:
    """Rows of each row group: both files of a day are cut alike."""
    return [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]


def _known_batches(
    file: pq.ParquetFile,
    known: Mask,
    columns: Sequence[str],
    first: int,
    positions: Positions | None,
) -> Iterator[tuple[pa.RecordBatch | None, Mask]]:
    """Batches with the part of `known` that is theirs; None for a row group that nobody asks for."""
    begun = 0
    for group, rows in enumerate(_groups(file)):
        inside = known[begun : begun + rows]
        begun += rows
        count = int(inside.sum())
        if not count or (
            positions is not None and not len(_within(positions, first, first + count))
        ):
            yield None, inside
        else:
            yield from _of_group(file, group, columns, inside)
        first += count


def _of_group(
    file: pq.ParquetFile, group: int, columns: Sequence[str], known: Mask
) -> Iterator[tuple[pa.RecordBatch, Mask]]:
    start = 0
    for batch in file.iter_batches(
        CHUNK, row_groups=[group], columns=list(columns), use_threads=False
    ):
        yield batch, known[start : start + batch.num_rows]
        start += batch.num_rows


def _within(positions: Positions, first: int, last: int) -> Positions:
    """Those of the ascending `positions` with first <= position < last."""
    low, high = np.searchsorted(positions, [first, last])
    return positions[low:high]
