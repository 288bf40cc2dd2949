from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

from registry.errors import BadData
from registry.features.view import Column, FeatureView

VIEW = FeatureView("churn", 3, "id", (Column("x"), Column("n", "int64"), Column("k", "category")))
LATE = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
EARLY = LATE - dt.timedelta(1)


def _table(**changes):
    columns = {"id": ["b", "a", "c"], "as_of": [LATE, LATE, EARLY], "x": [1, 2, None],
               "n": [1, 2, 3], "k": ["u", None, "t"], "more": [0, 0, 0]}  # fmt: skip
    return pa.table(columns | changes)


def test_it_is_sorted_and_typed():
    table = VIEW.conform(_table())
    assert table.schema == VIEW.schema
    assert table["id"].to_pylist() == ["c", "a", "b"]
    assert table["x"].to_pylist() == [None, 2.0, 1.0]


def test_vocabularies_and_signature():
    table = VIEW.conform(_table())
    vocabularies = VIEW.vocabularies(table)
    assert vocabularies == {"k": ["t", "u"]}
    signature = VIEW.signature(vocabularies, ["p"])
    assert signature.names == ("x", "n", "k")
    assert signature.inputs[2].categories == ("t", "u")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"n": [1.5, 2, 3]}, "wrong type"),
        ({"x": ["text", "", ""]}, "wrong type"),
        ({"id": ["a", "a", "b"]}, "appears twice"),
        ({"id": ["a", None, "b"]}, "no id|wrong type"),
        ({"as_of": pa.array([LATE, None, LATE])}, "no id or no as_of|wrong type"),
    ],
)
def test_faults_are_named(changes, why):
    with pytest.raises(BadData, match=why):
        VIEW.conform(_table(**changes))


def test_missing_columns_are_named():
    with pytest.raises(BadData, match="n, k"):
        VIEW.conform(_table().drop_columns(["n", "k"]))
