"""A window of three made-up days: numbers with zeros and gaps, a category, unknown labels."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jobs.tables import write_table
from jobs.training.fitting import Fitting
from jobs.training.window import Window, open_window
from registry.features.view import Column, FeatureView
from registry.models.signature import Signature

VIEW = FeatureView(
    "made_up", 1, "id", (Column("a"), Column("b"), Column("kind", "category"), Column("n", "int64"))
)
DATE = dt.date(2020, 1, 4)
ROWS = 3_000


def write_day(folder: Path, number: int, rows: int = ROWS) -> Path:
    """A day; every ninth label is not known in time."""
    rng = np.random.default_rng(number)
    a, b = rng.normal(size=rows), rng.normal(size=rows)
    a[::11], b[::5] = np.nan, 0.0
    kind = rng.choice(["x", "y", "z", f"only{number}"], size=rows)
    n = rng.integers(0, 4, size=rows)
    label = np.nan_to_num(a) + b + (kind == "x") + 0.3 * n + rng.normal(size=rows) > 0.9
    early = dt.datetime(2020, 1, number, tzinfo=dt.UTC)
    known = [
        dt.datetime(2020, 1, 9, tzinfo=dt.UTC) if row % 9 == 0 else early for row in range(rows)
    ]
    stamp = pa.timestamp("us", "UTC")
    ids = pa.array([f"{number}-{row}" for row in range(rows)])
    columns = {"id": ids, "as_of": pa.array([early] * rows, stamp)}
    columns |= {"a": pa.array(a), "b": pa.array(b), "kind": pa.array(kind), "n": pa.array(n)}
    target = folder / f"2020-01-0{number}"
    target.mkdir(parents=True)
    write_table(target / "features.parquet", pa.table(columns))
    facts = {"id": ids, "label": pa.array(label), "known_at": pa.array(known, stamp)}
    write_table(target / "labels.parquet", pa.table(facts))
    return target


@pytest.fixture(scope="session")
def days(tmp_path_factory) -> list[Path]:
    root = tmp_path_factory.mktemp("days")
    return [write_day(root, number) for number in (1, 2, 3)]


@pytest.fixture(scope="session")
def window(days) -> Window:
    return open_window(VIEW, days, DATE)


@pytest.fixture(scope="session")
def signature(window) -> Signature:
    return VIEW.signature(window.vocabularies(), ["probability"])


def a_fitting(window: Window, signature: Signature, **more) -> Fitting:
    model = more.pop("model", {"num_iterations": 12, "num_leaves": 7})
    return Fitting(signature, window, model, 3, 2, **more)
