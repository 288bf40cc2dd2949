"""Do a day's tables hold what the use case expects of them? Asked before anything is committed."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from registry.errors import BadData
from registry.quality import Rows, Values, expectations_of

#: Offending rows that a breach shows.
SHOWN = 5
#: Expectations that one message names; the log has all of them.
_NAMED = 3


@dataclass(frozen=True)
class Finding:
    """One expectation, what was measured, and, where it does not hold, in what way."""

    name: str
    measured: float
    breach: str = ""
    rows: Sequence[Mapping[str, Any]] = ()


def check_sources(usecase: str, date: dt.date, tables: Mapping[str, pa.Table]) -> dict[str, float]:
    """Check the source tables of a day; what was measured, as metrics.

    Raises:
        BadData: an expectation does not hold; says which, with counts and offending rows.
    """
    expected = expectations_of(usecase).sources
    findings = [
        finding
        for name, rows in expected.items()
        for finding in (
            _table(name, rows, tables[name])
            if name in tables
            else [Finding(f"{name} rows", 0.0, f"there is no table {name}")]
        )
    ]
    return _settled(f"the sources of {usecase} on {date}", findings)


def check_features(
    usecase: str, date: dt.date, table: pa.Table, labels: pa.Table, horizon: str = ""
) -> dict[str, float]:
    """Check a day's features and its labels (column `label`); what was measured, as metrics.

    Raises:
        BadData: an expectation does not hold; says which, with counts and offending rows.
    """
    expected = expectations_of(usecase)
    rows = expected.horizons.get(horizon, Rows()) if horizon else expected.features
    findings = list(_table("features", rows, table))
    if labels.num_rows:
        findings.append(_label_rate(expected.label_rate, labels))
    return _settled(f"the features of {usecase} on {date}", findings)


def _settled(about: str, findings: Sequence[Finding]) -> dict[str, float]:
    """The measured values by name; raises for what does not hold."""
    broken = [finding for finding in findings if finding.breach]
    if not broken:
        return {f"quality {finding.name}": finding.measured for finding in findings}
    for finding in broken:
        print(f"expectation {finding.name}: {finding.breach}")  # noqa: T201 - a job prints its log
        for row in finding.rows:
            print(f"  {json.dumps(row, default=str, ensure_ascii=False)}")  # noqa: T201
    more = f"; and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
    raise BadData(
        f"{about} break {len(broken)} of {len(findings)} expectations",
        "; ".join(_shown(finding) for finding in broken[:_NAMED]) + more,
        "Mend the source, or the expectation in the use case's quality.py.",
    )


def _shown(finding: Finding) -> str:
    """The breach in one line: the last line of a log is what people are shown first."""
    rows = ", ".join(" ".join(str(value)[:40] for value in row.values()) for row in finding.rows)
    return f"{finding.name}: {finding.breach}" + (f" ({rows})" if rows else "")


def _table(name: str, expected: Rows, table: pa.Table) -> Iterator[Finding]:
    yield _volume(name, expected, table.num_rows)
    for column in expected.unique:
        yield _unique(f"{name}.{column}", column, table)
    for column, values in expected.columns.items():
        if column in table.column_names:
            yield from _column(f"{name}.{column}", column, values, table)
        else:
            yield Finding(f"{name}.{column} nulls", 1.0, "there is no such column")


def _volume(name: str, expected: Rows, rows: int) -> Finding:
    fits = expected.least <= rows and (expected.most is None or rows <= expected.most)
    most = "" if expected.most is None else f" and at most {expected.most:,}"
    breach = "" if fits else f"{rows:,} rows, expected at least {expected.least:,}{most}"
    return Finding(f"{name} rows", float(rows), breach)


def _unique(name: str, column: str, table: pa.Table) -> Finding:
    counted = pc.value_counts(table[column].combine_chunks())
    repeated = counted.field(0).filter(pc.greater(counted.field(1), 1))
    offending = pc.is_in(table[column], value_set=repeated)
    count = pc.sum(pc.cast(offending, pa.int64())).as_py() or 0
    breach = f"{count:,} of {table.num_rows:,} rows share a value" if len(repeated) else ""
    return Finding(f"{name} repeated", float(count), breach, _rows(table, column, offending, count))


def _column(name: str, column: str, expected: Values, table: pa.Table) -> Iterator[Finding]:
    values = _without_nan(table[column])
    absent, total = pc.is_null(values), table.num_rows
    yield _share(f"{name} nulls", column, table, absent, total, expected.nulls, "")
    offending = _outside(expected, values)
    if offending is not None:
        present = len(values) - values.null_count
        told = _told(expected)
        yield _share(f"{name} outside", column, table, offending, present, expected.outside, told)


def _told(expected: Values) -> str:
    """What values were expected, in words."""
    low, high = expected.low, expected.high
    words = [f"{low:g} to {high:g}"] if low is not None and high is not None else []
    words += [f"{low:g} or more"] if low is not None and high is None else []
    words += [f"{high:g} or less"] if low is None and high is not None else []
    listed = sorted(expected.categories)
    if listed:
        more = ", …" if len(listed) > SHOWN else ""
        words.append(f"one of {', '.join(listed[:SHOWN])}{more}")
    return f", expected {' and '.join(words)}"


def _share(
    name: str, column: str, table: pa.Table, offending: Any, total: int, allowed: float, told: str
) -> Finding:
    """The share of `offending` rows among `total`, against the share that is `allowed`."""
    offending = pc.fill_null(offending, False)
    count = pc.sum(pc.cast(offending, pa.int64())).as_py() or 0
    share = count / total if total else 0.0
    if share <= allowed:
        return Finding(name, share)
    most = f", at most {allowed:.2%} may be" if allowed else ""
    breach = f"{count:,} of {total:,} values{told}{most}"
    return Finding(name, share, breach, _rows(table, column, offending, count))


def _outside(expected: Values, values: Any) -> Any:
    """Where `values` break bounds or categories; null where there is no value."""
    tests = []
    if expected.low is not None:
        tests.append(pc.less(values, expected.low))
    if expected.high is not None:
        tests.append(pc.greater(values, expected.high))
    if expected.categories:
        known = pa.array(sorted(expected.categories), pa.string())
        # Null is no category, and no breach of one.
        tests.append(pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, value_set=known))))
    found = None
    for test in tests:
        found = test if found is None else pc.or_(found, test)
    return found


def _without_nan(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_floating(column.type):
        return column
    return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)


def _label_rate(expected: tuple[float, float], labels: pa.Table) -> Finding:
    rate = pc.mean(pc.cast(labels["label"], pa.float64())).as_py()
    low, high = expected
    fits = low <= rate <= high
    breach = "" if fits else f"{rate:.2%} of the labels are true, expected {low:.2%} to {high:.2%}"
    return Finding("label rate", rate, breach)


def _rows(table: pa.Table, column: str, offending: Any, count: int) -> list[dict[str, Any]]:
    """The first offending rows: the first column, which names a row, and the one at fault."""
    if not count:
        return []
    names = list(dict.fromkeys([table.column_names[0], column]))
    found: list[dict[str, Any]] = table.select(names).filter(offending).slice(0, SHOWN).to_pylist()
    return found
