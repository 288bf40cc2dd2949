"""What a file of rows is like: its columns, their types and bounds, and the days that it covers."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from penstock.scaffold.dates import known_times, last_to_run, reach_of
from penstock.scaffold.hindsight import tells
from registry.errors import BadData, UsageError
from registry.features.files import as_label, as_utc, read_file

#: Texts that mean yes, where a label is text or number.
_YES = ("1", "true", "True", "TRUE", "yes", "Yes", "YES", "y", "Y", "t", "T")
#: Names that can stand in code and in a table of a page.
_PLAIN = re.compile(r"[\w .,:;/()%+#&?!'*=@°€£<>-]{1,60}")
#: More different texts than this are no category, but names or prose.
_MOST_CATEGORIES = 1_000
#: As many are listed as what may come.
LISTED = 12
#: Names that the table of the source has already.
_TAKEN = ("id", "as_of", "label", "known_at", "recent_rate")

Type = Literal["float64", "int64", "bool", "category"]


@dataclass(frozen=True)
class Roles:
    """Which columns are the time of a row, its id, its label, and when that was known."""

    time: str
    id: str
    label: str
    known_at: str | None = None

    def names(self) -> list[str]:
        """The columns that have a role."""
        return [name for name in (self.time, self.id, self.label, self.known_at) if name]


@dataclass(frozen=True)
class Described:
    """One column that becomes a feature; `nulls` is the largest share of any day, 0 to 1."""

    name: str
    type: Type
    nulls: float
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class File:
    """A file as a source.

    `per_day` is the fewest and the most rows of a day between its ends, `run_date` the last date
    that can be run: it has labels of both kinds to evaluate by, and the day after it is scored.
    `reach` is how many days before it a window must begin to hold labels of both kinds.
    """

    roles: Roles
    positive: str
    columns: tuple[Described, ...]
    left_out: dict[str, str]
    first: dt.date
    last: dt.date
    per_day: tuple[int, int]
    run_date: dt.date
    reach: int

    @property
    def days(self) -> int:
        """Days from the first row to the last."""
        return (self.last - self.first).days + 1


def describe(
    path: Path, roles: Roles, positive: str | None = None, without: Collection[str] = ()
) -> File:
    """Read the file and say what it is like, where columns named in `without` are left out.

    Raises:
        NotFound: there is no such file.
        UsageError: it has no such column.
        BadData: a time, an id or a label is not one, or the rows cover fewer than five days.
    """
    table = read_file(path)
    missing = [name for name in (*roles.names(), *without) if name not in table.column_names]
    if missing:
        raise UsageError(
            f"{path.name} has no column {', '.join(missing)}",
            f"it has {', '.join(table.column_names[:40])}",
            "Name columns of the file.",
        )
    odd = [name for name in roles.names() if not _PLAIN.fullmatch(name)]
    if odd:
        raise BadData(f"the name {odd[0]!r} cannot be used", "", "Rename the column in the file.")
    days = _days(table, roles.time)
    # As sources.py reads them: "True" in a CSV is not "true", and 007 not 7.
    texts = read_file(path, {roles.id: pa.string(), roles.label: pa.string()})
    _check_ids(texts, roles.id, days)
    counts = _counts(days)
    positive = _positive(texts, roles.label, positive)
    labels = as_label(texts, roles.label, positive)
    run_date = last_to_run(days, labels)
    known = known_times(table, roles.time, roles.known_at)
    columns, left_out = _columns(table, roles, days, labels, without)
    return File(
        roles,
        positive,
        tuple(columns),
        left_out,
        min(counts),
        max(counts),
        _per_day(counts),
        run_date,
        reach_of(run_date, days, labels, known),
    )


def _days(table: pa.Table, time: str) -> pa.ChunkedArray:
    """The day (UTC) of each row."""
    if not table.num_rows:
        raise BadData("the file has no rows", "", "Give one with rows.")
    times = as_utc(table, time)
    if times.null_count:
        raise BadData(f"{times.null_count} rows have no {time}", "", "Give every row its time.")
    return times.cast(pa.date32(), safe=False)


def _check_ids(table: pa.Table, name: str, days: pa.ChunkedArray) -> None:
    ids = pa.table({"day": days, "id": table[name]})
    if ids["id"].null_count:
        raise BadData(f"{ids['id'].null_count} rows have no {name}", "", "Give every row its id.")
    counted = ids.group_by(["day", "id"]).aggregate([([], "count_all")])
    again = counted.filter(pc.greater(counted["count_all"], 1))
    if again.num_rows:
        row = again.slice(0, 1).to_pylist()[0]
        raise BadData(
            f"{name} {row['id']} stands {row['count_all']} times on {row['day']}",
            f"so do {again.num_rows - 1} others; one day has one row of each id",
            "Name another column, or make one of several.",
        )


def _counts(days: pa.ChunkedArray) -> dict[dt.date, int]:
    counts = {each["values"]: each["counts"] for each in pc.value_counts(days).to_pylist()}
    if (max(counts) - min(counts)).days < 4:
        raise BadData(
            f"the rows cover {min(counts)} to {max(counts)}",
            "training, evaluation and prediction need five days",
            "Give a file that covers more days.",
        )
    return counts


def _per_day(counts: dict[dt.date, int]) -> tuple[int, int]:
    span = (max(counts) - min(counts)).days + 1
    return (min(counts.values()) if len(counts) == span else 0, max(counts.values()))


def _positive(table: pa.Table, name: str, given: str | None) -> str:
    texts = sorted(pc.unique(table[name]).drop_null().to_pylist())
    found = [given] if given is not None else [text for text in texts if text in _YES]
    if len(texts) == 2 and len(found) == 1 and found[0] in texts:
        return found[0]
    raise BadData(
        f"the column {name} is no label" + (f" with {given!r}" if given is not None else ""),
        f"it holds {', '.join(map(repr, texts[:5]))}{' …' if len(texts) > 5 else ''}",
        "A label has two values, one of which means yes: name that with --positive.",
    )


def _columns(
    table: pa.Table,
    roles: Roles,
    days: pa.ChunkedArray,
    labels: pa.ChunkedArray,
    without: Collection[str],
) -> tuple[list[Described], dict[str, str]]:
    """The columns that become features, and why others do not."""
    kept, left_out = [], {}
    for name in table.column_names:
        if name in roles.names():
            continue
        if name in without:
            left_out[name] = "as you asked"
        elif name in _TAKEN:
            left_out[name] = "its name is taken"
        elif not _PLAIN.fullmatch(name):
            left_out[name] = "its name has odd characters"
        elif table.column_names.count(name) > 1:
            left_out[name] = "it is there twice"
        elif (kind := _type(table[name])) is None:
            left_out[name] = _unfit(table[name])
        elif told := tells(table[name], labels):
            left_out[name] = f"{told}, so it is known too late"
        else:
            kept.append(_described(name, kind, table[name], days))
    if not kept:
        raise BadData("the file has no columns to make features of", "", "Give one that has.")
    return kept, left_out


def _type(column: pa.ChunkedArray) -> Type | None:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_integer(kind):
        return "int64"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "float64"
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return None
    different = pc.count_distinct(column.cast(pa.string())).as_py()
    fits = different <= min(_MOST_CATEGORIES, max(20, len(column) // 10))
    return "category" if fits else None


def _unfit(column: pa.ChunkedArray) -> str:
    """Why a column without a type of feature is left out."""
    if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
        return "it is a time; make a number of it in features.py, the days since then"
    if pa.types.is_null(column.type):
        return "it is empty"
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return f"it holds {pc.count_distinct(column).as_py():,} different texts"
    return f"it is {column.type}"


def _described(name: str, kind: Type, column: pa.ChunkedArray, days: pa.ChunkedArray) -> Described:
    nulls = _nulls(column, days)
    if kind == "category":
        texts = sorted(pc.unique(column.cast(pa.string())).drop_null().to_pylist())
        return Described(name, kind, nulls, categories=tuple(texts))
    if kind == "bool":
        return Described(name, kind, nulls)
    numbers = _finite(column.cast(pa.float64()))
    bounds: dict[str, Any] = pc.min_max(numbers).as_py()
    return Described(name, kind, nulls, bounds["min"], bounds["max"])


def _finite(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.filter(pc.is_finite(column))


def _nulls(column: pa.ChunkedArray, days: pa.ChunkedArray) -> float:
    """The largest share of missing values on a day."""
    missing = pc.is_null(column, nan_is_null=True)
    table = pa.table({"day": days, "missing": missing.cast(pa.float64())})
    shares = table.group_by("day").aggregate([("missing", "mean")])
    return float(pc.max(shares["missing_mean"]).as_py())


def roomy(column: Described) -> tuple[float, float] | None:
    """Bounds with room around what was seen: as much as its span on both sides, and round."""
    if column.low is None or column.high is None:
        return None
    span = max(column.high - column.low, abs(column.high), 1.0)
    low = 0.0 if column.low >= 0 else -_round(span - column.low)
    return low, _round(column.high + span) if column.high > 0 else _round(span)


def _round(value: float) -> float:
    """`value` rounded up to two digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / unit) * unit:.12g}")
