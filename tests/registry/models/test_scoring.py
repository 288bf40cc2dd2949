from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from registry.errors import BadData, NotFound, UsageError
from registry.models import scoring
from registry.models.predictor import open_checked
from registry.models.scoring import score
from registry.models.tables import encode_table

ROWS = 1000


@pytest.fixture
def table():
    rng = np.random.default_rng(5)
    columns = {f"x{i}": rng.normal(size=ROWS) for i in range(5)}
    kinds = [None if i % 7 == 0 else f"c{i % 45:02d}" for i in range(ROWS)]
    return pa.table({"id": [f"r{i}" for i in range(ROWS)], **columns, "kind": kinds})


@pytest.fixture
def source(table, tmp_path):
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=300)
    return tmp_path / "in.parquet"


def test_scores_equal_the_predictor_in_batches(bundle, table, source, tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "BATCH_ROWS", 128)
    seen = []
    target = tmp_path / "out.parquet"
    rows = score(
        bundle.folder, source, target, ids=["id"], progress=lambda *done: seen.append(done)
    )
    assert rows == ROWS
    assert seen[-1] == (ROWS, ROWS)
    out = pq.read_table(target)
    assert out["id"].equals(table["id"])
    want = open_checked(bundle).predict(encode_table(bundle.signature, table))
    np.testing.assert_array_equal(out["probability"].to_numpy(), want[:, 0])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bundle",
        "in.parquet",
        "out.parquet",
    ]


def test_nothing_is_overwritten(bundle, source, tmp_path):
    (tmp_path / "out.parquet").write_bytes(b"precious")
    with pytest.raises(UsageError, match="exists"):
        score(bundle.folder, source, tmp_path / "out.parquet")


def test_bad_columns_are_named(bundle, table, tmp_path):
    bad = table.drop_columns(["x1"]).set_column(1, "x0", [["text"] * ROWS])
    pq.write_table(bad, tmp_path / "bad.parquet")
    with pytest.raises(BadData, match=r"x0 is string, not float64; x1 is missing"):
        score(bundle.folder, tmp_path / "bad.parquet", tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_id_columns(bundle, source, tmp_path):
    with pytest.raises(BadData, match="nope"):
        score(bundle.folder, source, tmp_path / "out.parquet", ids=["nope"])


def test_a_missing_file(bundle, tmp_path):
    with pytest.raises(NotFound):
        score(bundle.folder, tmp_path / "nothing", tmp_path / "out.parquet")
    with pytest.raises(NotFound):
        score(tmp_path / "nothing", tmp_path / "nothing", tmp_path / "out.parquet")


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "page"])
def test_a_damaged_file_is_bad_data_and_leaves_nothing(bundle, source, tmp_path, damage):
    data = source.read_bytes()
    source.write_bytes({
        "truncated": data[: len(data) // 2],
        "empty": b"",
        "text": b"a,b\n1,2\n",
        "page": data[:4] + b"\xff" * 2000 + data[2004:],
    }[damage])  # fmt: skip
    with pytest.raises(BadData, match="cannot be read as Parquet"):
        score(bundle.folder, source, tmp_path / "out.parquet", ids=["id"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "in.parquet"]


def test_memory_does_not_grow_with_the_file(bundle, tmp_path, monkeypatch):
    rows, groups = 20_000, 20
    rng = np.random.default_rng(2)
    columns = {f"x{i}": rng.normal(size=rows) for i in range(5)} | {"kind": ["c01"] * rows}
    part = pa.table(columns)
    with pq.ParquetWriter(tmp_path / "in.parquet", part.schema, compression="none") as writer:
        for _ in range(groups):
            writer.write_table(part)
    held = []
    before = pa.total_allocated_bytes()
    score(
        bundle.folder,
        tmp_path / "in.parquet",
        tmp_path / "out.parquet",
        progress=lambda *_: held.append(pa.total_allocated_bytes()),  # read-ahead would hold all
    )
    assert len(held) > 5
    assert max(held) - before < part.nbytes * groups / 2
