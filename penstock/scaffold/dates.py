"""Which date of a file can be run, and how far back the labels lie that it can learn from."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pyarrow.compute as pc

from registry.errors import BadData
from registry.features.files import as_utc

#: What a use case takes for the time at which a label was known, where no column says so.
KNOWN_AFTER = dt.timedelta(days=1)


def known_times(table: pa.Table, time: str, known_at: str | None) -> pa.ChunkedArray:
    """When the label of each row was known.

    Raises:
        BadData: a column that holds no times.
    """
    return as_utc(table, known_at) if known_at else pc.add(as_utc(table, time), KNOWN_AFTER)


def last_to_run(days: pa.ChunkedArray, labels: pa.ChunkedArray) -> dt.date:
    """The last day, but for the last of all, whose rows have both labels.

    Raises:
        BadData: there is none.
    """
    labelled = pa.table({"day": days, "label": labels}).filter(pc.is_valid(labels))
    kinds = labelled.group_by("day").aggregate([("label", "count_distinct")])
    both = kinds.filter(pc.equal(kinds["label_count_distinct"], 2))["day"].to_pylist()
    last = pc.max(days).as_py() - dt.timedelta(days=1)
    found = [day for day in both if day <= last]
    if not found:
        raise BadData(
            "no day before the last has labels of both kinds",
            "a model is evaluated on the rows of one day",
            "Give a file whose days have more rows, or more labels.",
        )
    newest: dt.date = max(found)
    return newest


def reach_of(
    date: dt.date, days: pa.ChunkedArray, labels: pa.ChunkedArray, known: pa.ChunkedArray
) -> int:
    """How many days before `date` a window must begin to hold labels of both kinds, known by then.

    Raises:
        BadData: no window does.
    """
    start = pa.scalar(dt.datetime.combine(date, dt.time(), dt.UTC), pa.timestamp("us", "UTC"))
    learnt = pc.and_(pc.less(days, pa.scalar(date)), pc.less(known, start))
    rows = pa.table({"day": days, "label": labels}).filter(pc.and_(learnt, pc.is_valid(labels)))
    newest = rows.group_by("label").aggregate([("day", "max")])["day_max"].to_pylist()
    if len(newest) < 2:
        raise BadData(
            f"no labels of both kinds were known before {date}",
            "a model of that date learns from the labels that were known when it began",
            "Give a file that covers more days before it.",
        )
    days_back: int = (date - min(newest)).days
    return days_back
