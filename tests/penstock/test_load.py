"""A model and an artifact in a notebook."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import penstock
from registry.errors import BadData, NotFound, UsageError
from tests.penstock.conftest import ENVIRONMENT, Imported


@pytest.fixture(autouse=True)
def _there(imported: Imported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(imported.folder)
    monkeypatch.setenv("PENSTOCK_ENVIRONMENT", ENVIRONMENT)


def test_every_kind_of_frame_gives_the_same(imported: Imported) -> None:
    table = pq.read_table("rows.parquet")
    with penstock.load("churn@champion") as model:
        arrow = model.predict(table)
        pandas = model.predict(table.to_pandas().iloc[::-1])
        columns = model.predict({name: table[name].to_pylist() for name in table.column_names})
    assert isinstance(arrow, pa.Table)
    assert isinstance(pandas, pd.DataFrame)
    expected = arrow["probability"].to_numpy()
    np.testing.assert_array_equal(columns["probability"], expected)
    np.testing.assert_array_equal(pandas.sort_index()["probability"], expected)
    assert model.key == imported.first
    assert model.signature.names == ("hour", "temp", "origin")


def test_a_key_names_a_model_too(imported: Imported) -> None:
    assert penstock.load(imported.second[:20]).key == imported.second


def test_a_missing_column_is_named() -> None:
    model = penstock.load("churn")
    for frame in ({"hour": [1]}, pd.DataFrame({"hour": [1]}), pa.table({"hour": [1]})):
        with pytest.raises(BadData, match="temp"):
            model.predict(frame)
    with pytest.raises(UsageError, match="a list is not a frame"):
        model.predict([1])


def test_an_artifact_shows_its_manifest_and_files(imported: Imported) -> None:
    artifact = penstock.artifact(imported.first[:16])
    assert artifact.manifest.parameters == {"source": "import"}
    assert (artifact.path / "bundle.json").is_file()
    assert penstock.artifact("churn@champion").key == imported.first
    with pytest.raises(UsageError, match="no table"):
        artifact.table()


def test_what_is_not_there() -> None:
    with pytest.raises(NotFound):
        penstock.load("flights@champion")
    with pytest.raises(NotFound):
        penstock.artifact("0" * 16)
    with pytest.raises(UsageError):
        penstock.artifact("xyz")
