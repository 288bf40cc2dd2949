"""Labelled rows of several days: what a model is trained on and compared with."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.tables import read_table
from registry.errors import BadData
from registry.features.view import FeatureView

Labels = NDArray[np.float64]


def read_window(
    view: FeatureView, folders: Sequence[Path], before: dt.date | None = None
) -> tuple[pa.Table, Labels]:
    """Features and labels (0 or 1) of the days in `folders`, of the rows whose label is known.

    With `before`, only those whose label was known before that day began (00:00 UTC): a model of
    that day could not have learnt from the others.

    Raises:
        BadData: a file is broken or lacks columns, ids do not match, nothing is left, or all
            labels are equal.
    """
    days = [_read_day(view, folder) for folder in folders]
    features = pa.concat_tables([day[0] for day in days])
    labels = pa.concat_tables([day[1] for day in days])
    known = known_labels(labels, before)
    features, labels = features.filter(known), labels.filter(known)
    values = np.asarray(pc.cast(labels["label"], pa.float64()).to_numpy(), dtype=np.float64)
    check_labels(view, values, before)
    return features, values


def known_labels(
    labels: pa.Table | pa.RecordBatch, before: dt.date | None
) -> pa.ChunkedArray | pa.Array:
    """Which rows of a table of labels count; null, like false, is one that does not."""
    if before is None:
        return pc.is_valid(labels["known_at"])
    start = dt.datetime.combine(before, dt.time(), dt.UTC)
    return pc.less(labels["known_at"], pa.scalar(start, pa.timestamp("us", "UTC")))


def foreign_labels(view: FeatureView, folder: Path) -> BadData:
    """The error of a day whose labels are of other rows than its features."""
    return BadData(
        f"the labels in {folder.name} are not those of its features",
        f"their {view.entity} differ",
        "Retract the features of that day, and run again.",
    )


def _read_day(view: FeatureView, folder: Path) -> tuple[pa.Table, pa.Table]:
    features = read_table(folder / "features.parquet", view.schema.names)
    labels = read_table(folder / "labels.parquet", [view.entity, "label", "known_at"])
    if not features[view.entity].equals(labels[view.entity]):
        raise foreign_labels(view, folder)
    return features, labels


def check_labels(view: FeatureView, labels: Labels, before: dt.date | None) -> None:
    """Raise BadData unless both classes are there; without `before` they judge a model."""
    what = f"the window of {view.name} before {before}" if before else f"the day of {view.name}"
    if before is None:
        check_classes(what, labels, "Choose an earlier day, whose labels have come in.")
    else:
        check_classes(what, labels)


def check_classes(
    what: str, labels: Labels, advice: str = "Widen the window, or choose a later day."
) -> None:
    """Raise BadData unless the labels of `what` are of both classes."""
    if not len(labels):
        raise BadData(
            f"{what} has no row whose label is known",
            "a model is trained on, and judged by, rows with a label",
            advice,
        )
    if labels.min() == labels.max():
        raise BadData(
            f"all {len(labels)} labels of {what} are {bool(labels[0])}",
            "a model needs both classes",
            f"{advice} Or check the label.",
        )
