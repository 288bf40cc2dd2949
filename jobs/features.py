"""Features: one day's rows of the feature view, and their labels beside them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from jobs.outcome import Inputs, Outcome, Parameters, folders
from jobs.quality import check_features
from jobs.tables import read_tables, write_table
from registry.errors import BadData
from registry.features.view import AS_OF, FeatureView
from registry.usecase import load_features, load_step


def run(inputs: Inputs, parameters: Parameters, out: Path) -> Outcome:
    """Write `features.parquet` and `labels.parquet` of `date`.

    Input `days`: folders of ingest in the order of dates, the last one being `date`. Parameter
    `horizon`: one that the use case declares; none is its own.

    Raises:
        BadData: a day's tables lack columns, rows break the view or are not what the use case
            expects, or a row has no label.
    """
    usecase = parameters["usecase"]
    date = dt.date.fromisoformat(parameters["date"])
    days = [read_tables(folder) for folder in folders(inputs, "days")]
    horizon = parameters.get("horizon", "")
    step = load_features(usecase, horizon)
    view: FeatureView = step.VIEW
    try:
        table = view.conform(step.features(days, date))
        known = load_step(usecase, "label").label(days[-1])
    except KeyError as error:
        raise BadData(
            f"a table of {date} lacks {error}",
            "the use case's features or label need it",
            "Raise the version of ingest, and run again.",
        ) from None
    labels = _labels(view, table, known)
    settled = labels.filter(pc.is_valid(labels["known_at"]))
    measured = check_features(usecase, date, table, settled, horizon)
    write_table(out / "features.parquet", table)
    write_table(out / "labels.parquet", labels)
    metrics = {"rows": float(table.num_rows), **measured}
    if settled.num_rows:
        metrics["label_rate"] = pc.mean(pc.cast(settled["label"], pa.float64())).as_py()
    return Outcome(metrics, rows=table.num_rows)


def _labels(view: FeatureView, table: pa.Table, known: pa.Table) -> pa.Table:
    """Labels in the order of `table`; one without `known_at` is not known yet, whatever it says."""
    index = pc.index_in(table[view.entity], value_set=known[view.entity])
    found = known.take(index)
    if found["label"].null_count:
        absent = table[view.entity].filter(pc.is_null(found["label"]))[0]
        raise BadData(f"{view.entity} {absent} has no label", "", "Correct the use case's label().")
    schema = pa.schema([
        pa.field(view.entity, pa.string(), nullable=False),
        pa.field("label", pa.bool_(), nullable=False),
        pa.field("known_at", AS_OF),
    ])  # fmt: skip
    columns = [table[view.entity], found["label"], found["known_at"]]
    return pa.table(columns, names=schema.names).cast(schema)
