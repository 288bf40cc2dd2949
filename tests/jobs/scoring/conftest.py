"""A bundle of each flavor, rows that fit it, and the same rows with known faults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.scoring.score import Asked, Done, quarantine_beside, score
from jobs.scoring.sources import find_sources
from registry.models.building import build_bundle
from registry.models.bundle import Bundle, Link
from registry.models.predictor import open_checked
from registry.models.signature import Input, Output, Signature
from registry.models.tables import encode_table
from registry.settings import Settings
from tests.registry.models.conftest import CATEGORIES, train_catboost, train_lightgbm

ROWS = 3000
#: What a row must be like is said for two of the inputs.
SIGNATURE = Signature(
    (
        Input("x0", missing="error"),
        *(Input(f"x{index}") for index in range(1, 5)),
        Input("kind", "category", CATEGORIES, unseen="error"),
    ),
    (Output("probability"),),
)
GOLDEN = [
    {f"x{i}": float(row - i) for i in range(5)} | {"kind": CATEGORIES[row]} for row in range(4)
]


@pytest.fixture(scope="session", params=["lightgbm", "catboost"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp(request.param)
    link: Link | None
    if request.param == "lightgbm":
        model, link = train_lightgbm().model_to_string().encode(), None
    else:
        path = folder / "trained"
        train_catboost().save_model(str(path), format="cbm")
        model, link = path.read_bytes(), "logistic"
        path.unlink()
    return build_bundle(
        folder, flavor=request.param, model=model, link=link, signature=SIGNATURE, rows=GOLDEN
    )  # fmt: skip


def rows_of(count: int = ROWS, seed: int = 5) -> pa.Table:
    """Rows that fit, float32 and float64, with nulls where they may be."""
    rng = np.random.default_rng(seed)
    numbers = {f"x{i}": rng.normal(size=count).astype("f4" if i % 2 else "f8") for i in range(5)}
    columns: dict[str, Any] = {name: pa.array(values) for name, values in numbers.items()}
    columns["x3"] = pa.array(numbers["x3"], mask=rng.random(count) < 0.1)
    kinds = [None if i % 7 == 0 else CATEGORIES[i % 40] for i in range(count)]
    ids = [f"r{i}" for i in range(count)]
    return pa.table({"id": ids, "when": pa.array(range(count)), **columns, "kind": kinds})


def hostile(table: pa.Table, faults: dict[int, str]) -> pa.Table:
    """`table` with a fault of a kind in each of the rows named."""
    columns = {name: table[name].to_pylist() for name in table.column_names}
    columns["x4"] = list(map(repr, columns["x4"]))  # numbers as texts, as files from CSV have them
    for row, fault in faults.items():
        name, value = FAULTS[fault][:2]
        columns[name][row] = value
    return pa.table(columns)


#: Column, value, and what the quarantine says of it.
FAULTS: dict[str, tuple[str, Any, str]] = {
    "id": ("id", None, "None: an id is required"),
    "infinity": ("x1", float("-inf"), "-inf: infinity is not declared"),
    "category": ("kind", "c99", "'c99': the model has not seen this category"),
    "text": ("x4", "n/a", "'n/a': expected a number"),
    "missing": ("x0", None, "None: a value is required"),
}


def write(table: pa.Table, path: Path, group: int = 700) -> Path:
    pq.write_table(table, path, row_group_size=group)
    return path


def expected(bundle: Bundle, table: pa.Table) -> Any:
    """The outputs by the other way: the whole table as one matrix."""
    predictor = open_checked(bundle)
    try:
        return predictor.predict(encode_table(bundle.signature, table))
    finally:
        predictor.close()


Call = Callable[..., Done]


@pytest.fixture
def scored(bundle: Bundle, tmp_path: Path) -> Call:
    """Score what `names` mean into `out.parquet`."""

    def call(*names: str | Path, progress: Any = None, **more: Any) -> Done:
        target = tmp_path / more.pop("target", "out.parquet")
        sources = find_sources([str(name) for name in names], Settings.load())
        more = {"threads": 2, **more}
        asked = Asked(bundle.folder, sources, target, quarantine_beside(target), **more)
        return score(asked, progress)

    return call
