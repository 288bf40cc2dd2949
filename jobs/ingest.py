"""Ingest: the source tables of one day, one Parquet file each."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from jobs.outcome import Inputs, Outcome, Parameters
from jobs.tables import write_table
from registry.errors import BadData
from registry.usecase import load_step


def run(inputs: Inputs, parameters: Parameters, out: Path) -> Outcome:  # noqa: ARG001
    """Write `<table>.parquet` for each table that the use case's `ingest(date)` gives.

    Raises:
        NotFound: the source has no such day.
        BadData: a table is not what the use case promised, or the first of them is empty.
    """
    sources = load_step(parameters["usecase"], "sources")
    date = dt.date.fromisoformat(parameters["date"])
    tables = sources.ingest(date)
    if not tables or not any(table.num_rows for table in tables.values()):
        raise BadData(f"the sources of {date} are empty", "", "Check the source for this day.")
    for name, table in tables.items():
        write_table(out / f"{name}.parquet", table)
    counts = {f"rows_{name}": float(table.num_rows) for name, table in tables.items()}
    return Outcome(counts, rows=sum(table.num_rows for table in tables.values()))
