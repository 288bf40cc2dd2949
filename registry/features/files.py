"""Rows of one CSV or Parquet file, for use cases whose source is a file."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq

from registry.errors import BadData, NotFound
from registry.features.view import AS_OF

#: What stands for a missing value in a CSV.
NULLS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")


def read_file(path: Path, types: Mapping[str, pa.DataType] | None = None) -> pa.Table:
    """The columns that `types` names, in these types; without `types`, all, as they come.

    Raises:
        NotFound: there is no such file.
        BadData: it is neither CSV nor Parquet, lacks a column, or a value has another type.
    """
    try:
        table = _parquet(path, types) if path.suffix == ".parquet" else _csv(path, types)
        return _typed(table, types) if types else table
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}", "", "Check the path in settings.py.") from None
    except MemoryError:  # Arrow's own is an ArrowException as well
        raise
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        first = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise BadData(
            f"{path.name} is not what sources.py reads", first, "Mend the file, or sources.py."
        ) from None


def _parquet(path: Path, types: Mapping[str, pa.DataType] | None) -> pa.Table:
    with pq.ParquetFile(path) as file:
        _need(path, file.schema_arrow.names, types)
        return file.read(columns=list(types) if types else None)


def _csv(path: Path, types: Mapping[str, pa.DataType] | None) -> pa.Table:
    # Times are converted afterwards: here a zone would be demanded of every one, or forbidden.
    wanted = {name: kind for name, kind in (types or {}).items() if kind != AS_OF}
    options = pv.ConvertOptions(
        column_types=wanted, null_values=list(NULLS), strings_can_be_null=True
    )
    # A quoted text may hold line ends: without this it is cut where a block of the file ends.
    parse = pv.ParseOptions(newlines_in_values=True)
    table = pv.read_csv(path, parse_options=parse, convert_options=options)
    _need(path, table.column_names, types)
    return table


def _typed(table: pa.Table, types: Mapping[str, pa.DataType]) -> pa.Table:
    columns = {
        name: as_utc(table, name) if kind == AS_OF else table[name].cast(kind)
        for name, kind in types.items()
    }
    return pa.table(columns)


def _need(path: Path, names: list[str], types: Mapping[str, pa.DataType] | None) -> None:
    missing = [name for name in types or () if name not in names]
    if missing:
        raise BadData(
            f"{path.name} has no column {', '.join(missing)}",
            f"it has {', '.join(names[:40])}",
            "Mend the file, or sources.py.",
        )


def as_utc(table: pa.Table, name: str) -> pa.ChunkedArray:
    """The times in a column, UTC in µs; a time without a zone counts as UTC, a date as 00:00.

    Raises:
        BadData: the column holds no times.
    """
    column = table[name]
    if pa.types.is_null(column.type):
        return column.cast(AS_OF)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"))
    if not pa.types.is_timestamp(column.type):
        raise BadData(
            f"the column {name} is {column.type}, not a time",
            f"it begins with {column[0] if len(column) else 'nothing'}",
            "Write times as 2024-03-31 or 2024-03-31T18:00:00Z (ISO 8601).",
        )
    if column.type.tz is None:
        column = pc.assume_timezone(column.cast(pa.timestamp("us")), "UTC")
    return column.cast(AS_OF)


def on_day(times: pa.ChunkedArray, date: dt.date) -> pa.ChunkedArray:
    """Which of the times (UTC) lie on `date`."""
    start = dt.datetime.combine(date, dt.time(), dt.UTC)
    end = start + dt.timedelta(days=1)
    after = pc.greater_equal(times, pa.scalar(start, AS_OF))
    return pc.and_(after, pc.less(times, pa.scalar(end, AS_OF)))


def as_label(table: pa.Table, name: str, positive: str) -> pa.ChunkedArray:
    """Whether the texts in a column are `positive`; null where there is none.

    Raises:
        BadData: there are more than two different texts, or two that are not `positive`.
    """
    column = table[name]
    others = sorted(set(pc.unique(column).to_pylist()) - {None, positive})
    if len(others) > 1:
        raise BadData(
            f"the column {name} is no label",
            f"besides {positive!r} it holds {', '.join(map(repr, others[:5]))}",
            "A label has two values; correct the file, or label it in sources.py.",
        )
    return pc.equal(column, positive)
