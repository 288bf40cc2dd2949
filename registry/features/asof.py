"""Point-in-time joins: a row with time `as_of` sees events with `known_at` strictly before it.

Strict, because an event that becomes known at the very instant of a prediction was not known
when the prediction was asked for. The work is done by sorting the events by (key, known_at) and
two binary searches per row; no row is ever compared with an event of its future.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from registry.errors import BadData

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Visible:
    """For each row, the events it may see: `order[start:stop]`, oldest first."""

    order: Integers
    start: Integers
    stop: Integers

    @property
    def count(self) -> Integers:
        """How many events each row sees."""
        return self.stop - self.start

    @property
    def latest(self) -> Integers:
        """Index of the newest event each row sees, or -1.

        Of events with equal `known_at`, the one that stands last in the events' table.
        """
        if not len(self.order):
            return np.full(len(self.stop), -1, dtype=np.int64)
        last = self.order[np.maximum(self.stop - 1, 0)]
        return np.where(self.count > 0, last, -1)

    def mean(self, values: Floats) -> Floats:
        """Mean over the visible events of `values` (one per event); NaN where there is none.

        Events whose value is NaN are left out.
        """
        ordered = values[self.order]
        valid = ~np.isnan(ordered)
        totals = np.concatenate([[0.0], np.cumsum(np.where(valid, ordered, 0.0))])
        counts = np.concatenate([[0], np.cumsum(valid)])
        seen = counts[self.stop] - counts[self.start]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean: Floats = (totals[self.stop] - totals[self.start]) / seen
        return mean


def visible(
    rows: pa.Table,
    events: pa.Table,
    *,
    by: Sequence[str],
    within: dt.timedelta | None = None,
    as_of: str = "as_of",
    known_at: str = "known_at",
) -> Visible:
    """Find, for each of `rows`, the `events` of equal key that were known before its `as_of`.

    Seen are events with as_of - within <= known_at < as_of. A null in a key matches nothing; an
    event whose `known_at` is null was never known.

    Raises:
        BadData: a column is missing or of a wrong type, or a row has no `as_of`.
    """
    _need(rows, [*by, as_of], "rows")
    _need(events, [*by, known_at], "events")
    asked, known = _microseconds(rows, as_of), _microseconds(events, known_at)
    if asked.null_count:
        raise BadData(f"a row has no {as_of}", "it cannot be joined in time", "Give every row one.")
    row_keys, event_keys = _keys(rows, events, by)
    usable = np.asarray(pc.is_valid(known)) & (event_keys >= 0)
    indices = np.flatnonzero(usable)
    times = known.fill_null(0).to_numpy()[indices]
    before = asked.to_numpy()
    since = None if within is None else before - within // dt.timedelta(microseconds=1)
    return _search(row_keys, before, since, event_keys[indices], times, indices)


def _search(
    row_keys: Integers,
    before: Integers,
    since: Integers | None,
    event_keys: Integers,
    times: Integers,
    indices: Integers,
) -> Visible:
    # (key, rank of the time) fits one integer, which one binary search can look for.
    ranks = np.unique(times)
    width = len(ranks) + 1
    events = event_keys * width + np.searchsorted(ranks, times)
    order = np.argsort(events, kind="stable")
    events = events[order]
    first = np.maximum(row_keys, 0) * width
    stop = np.searchsorted(events, first + np.searchsorted(ranks, before))
    low = first if since is None else first + np.searchsorted(ranks, since)
    start = np.searchsorted(events, low)
    start = np.where(row_keys < 0, stop, start)
    return Visible(indices[order], start.astype(np.int64), stop.astype(np.int64))


def _keys(rows: pa.Table, events: pa.Table, by: Sequence[str]) -> tuple[Integers, Integers]:
    """One integer per row and event, equal where all key columns are; -1 where one is null."""
    total = np.zeros(rows.num_rows + events.num_rows, dtype=np.int64)
    null = np.zeros(len(total), dtype=np.bool_)
    for name in by:
        both = (
            pa.concat_arrays(
                [
                    *rows.column(name).chunks,
                    *events.column(name).cast(rows.column(name).type).chunks,
                ]
            )
            if len(total)
            else pa.array([], rows.column(name).type)
        )
        encoded = both.dictionary_encode()
        codes = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        null |= np.asarray(pc.is_null(both))
        # Dense again after each column, so that many columns cannot overflow.
        total = np.unique(total * (len(encoded.dictionary) + 1) + codes, return_inverse=True)[1]
    total = np.where(null, -1, total)
    return total[: rows.num_rows], total[rows.num_rows :]


def _microseconds(table: pa.Table, name: str) -> pa.ChunkedArray:
    column = table.column(name)
    if not pa.types.is_timestamp(column.type):
        raise BadData(f"column {name} is {column.type}", "expected a timestamp", "Convert it.")
    return pc.cast(pc.cast(column, pa.timestamp("us", tz=column.type.tz)), pa.int64())


def _need(table: pa.Table, names: Sequence[str], what: str) -> None:
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise BadData(f"the {what} lack columns: {', '.join(missing)}", "a join in time needs them")
