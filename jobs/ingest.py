"""Ingest: the source tables of one day, one Parquet file each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from jobs.outcome import Inputs, Outcome, Parameters
from jobs.quality import check_sources
from jobs.tables import write_table
from registry.errors import BadData
from registry.quality import expectations_of
from registry.usecase import load_step


def run(inputs: Inputs, parameters: Parameters, out: Path) -> Outcome:  # noqa: ARG001
    """Write `<table>.parquet` for each table that the use case's `ingest(date)` gives.

    Raises:
        NotFound: the source has no such day.
        BadData: the tables are not what the use case expects of them, or all are empty while
            nobody declared that they may be.
    """
    usecase, date = parameters["usecase"], dt.date.fromisoformat(parameters["date"])
    tables = load_step(usecase, "sources").ingest(date)
    _refuse_empty(usecase, date, tables)
    measured = check_sources(usecase, date, tables)
    for name, table in tables.items():
        write_table(out / f"{name}.parquet", table)
    counts = {f"rows_{name}": float(table.num_rows) for name, table in tables.items()}
    return Outcome(counts | measured, rows=sum(table.num_rows for table in tables.values()))


def _refuse_empty(usecase: str, date: dt.date, tables: Mapping[str, pa.Table]) -> None:
    """An empty day is a source that failed, unless every table's expectations allow it."""
    expected = expectations_of(usecase).sources
    allowed = tables and all(name in expected and not expected[name].least for name in tables)
    if not allowed and not any(table.num_rows for table in tables.values()):
        raise BadData(f"the sources of {date} are empty", "", "Check the source for this day.")
