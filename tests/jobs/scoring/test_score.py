from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.scoring import engine
from jobs.scoring.engine import Columns
from jobs.scoring.rules import Rules
from jobs.scoring.score import shards_for
from registry.errors import BadData, NotFound, UsageError
from tests.jobs.scoring.conftest import ROWS, expected, rows_of, write

pytestmark = pytest.mark.usefixtures("no_fd_leaks", "no_thread_leaks")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(engine, "_ROWS", 300)


@pytest.fixture
def source(tmp_path):
    return write(rows_of(), tmp_path / "in.parquet")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("threads", [1, 3])
def test_scores_equal_the_predictor_on_the_whole_table(
    scored, bundle, source, tmp_path, threads, monkeypatch
):
    monkeypatch.setattr("jobs.scoring.writing.ROW_GROUP", 1000)
    seen = []
    done = scored(
        source,
        columns=Columns(["id"], ["when"]),
        threads=threads,
        progress=lambda *told: seen.append(told),
    )
    assert done == (ROWS, 0, 1, 0)
    assert seen[-1] == (ROWS, ROWS)
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.column_names == ["id", "when", "probability"]
    table = rows_of()
    assert out["id"].equals(table["id"])
    assert out["when"].equals(table["when"])
    assert out["probability"].to_numpy().tobytes() == expected(bundle, table)[:, 0].tobytes()
    assert names(tmp_path) == ["in.parquet", "out.parquet"]


def test_the_bytes_depend_on_the_rows_alone(scored, tmp_path, monkeypatch):
    monkeypatch.setattr("jobs.scoring.writing.ROW_GROUP", 512)
    one = write(rows_of(), tmp_path / "one.parquet", 111)
    table = rows_of()
    (tmp_path / "many").mkdir()
    for number, start in enumerate(range(0, ROWS, 1000)):
        write(table.slice(start, 1000), tmp_path / "many" / f"{number}.parquet", 400)
    digests = set()
    for number, (where, shards) in enumerate(
        [(one, 1), (one, 4), (tmp_path / "many", 3), (f"{tmp_path}/many/*.parquet", 50)]
    ):
        target = f"out-{number}.parquet"
        done = scored(where, shards=shards, columns=Columns(["id"]), target=target)
        assert (done.rows, done.shards) == (ROWS, shards)
        digests.add(hashlib.sha256((tmp_path / target).read_bytes()).hexdigest())
    assert len(digests) == 1
    assert not list(tmp_path.glob(".*"))


def test_every_column_is_carried_and_floats_are_small(scored, tmp_path, source):
    scored(source, carry_all=True)
    table = rows_of()
    out = pq.ParquetFile(tmp_path / "out.parquet")
    assert out.schema_arrow.names == [*table.column_names, "probability"]
    assert out.read().select(table.column_names).equals(table)
    group = out.metadata.row_group(0)
    encodings = {
        group.column(n).path_in_schema: group.column(n).encodings for n in range(group.num_columns)
    }
    assert "BYTE_STREAM_SPLIT" in encodings["x1"]
    assert "BYTE_STREAM_SPLIT" in encodings["probability"]
    assert group.column(0).compression == "ZSTD"


def test_no_rows(scored, tmp_path):
    done = scored(write(rows_of(0), tmp_path / "in.parquet"), columns=Columns(["id"]), shards=3)
    assert done.rows == 0
    assert pq.read_table(tmp_path / "out.parquet").column_names == ["id", "probability"]


@pytest.mark.parametrize("name", ["out.parquet", "out.quarantine.parquet"])
def test_nothing_is_overwritten(scored, source, tmp_path, name):
    (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(UsageError, match="exists"):
        scored(source)
    assert (tmp_path / name).read_bytes() == b"precious"
    assert names(tmp_path) == sorted(["in.parquet", name])


def test_bad_columns_are_named(scored, tmp_path):
    bad = rows_of().drop_columns(["x1"]).set_column(2, "x0", [[True] * ROWS])
    with pytest.raises(BadData, match=r"x0 is bool, not float64; x1 is missing"):
        scored(write(bad, tmp_path / "bad.parquet"))
    assert names(tmp_path) == ["bad.parquet"]


def test_a_file_that_differs_from_the_first_is_named(scored, tmp_path):
    write(rows_of(), tmp_path / "a.parquet")
    other = rows_of().set_column(0, "id", [list(range(ROWS))])
    write(other, tmp_path / "b.parquet")
    with pytest.raises(BadData, match=r"b.parquet: columns to carry along have other types"):
        scored(tmp_path, columns=Columns(["id"]))


def test_columns_to_carry(scored, source):
    with pytest.raises(BadData, match="nope"):
        scored(source, columns=Columns(["nope"]))


def test_a_carried_column_named_like_an_output(scored, tmp_path):
    table = rows_of().append_column("probability", [[0.5] * ROWS])
    with pytest.raises(UsageError, match="output of the model"):
        scored(write(table, tmp_path / "in.parquet"), carry_all=True)


@pytest.mark.parametrize("name", ["nothing", "*.nothing", "."])
def test_what_is_not_there(scored, tmp_path, name):
    with pytest.raises(NotFound):
        scored(tmp_path / name)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "page"])
def test_a_damaged_file_is_bad_data_and_leaves_nothing(scored, source, tmp_path, damage):
    data = source.read_bytes()
    source.write_bytes({
        "truncated": data[: len(data) // 2],
        "empty": b"",
        "text": b"a,b\n1,2\n",
        "page": data[:4] + b"\xff" * 2000 + data[2004:],
    }[damage])  # fmt: skip
    with pytest.raises(BadData, match="cannot be read as Parquet"):
        scored(source, columns=Columns(["id"]))
    assert names(tmp_path) == ["in.parquet"]


def test_memory_does_not_grow_with_the_data(scored, tmp_path):
    part, parts = rows_of(20_000), 20
    with pq.ParquetWriter(tmp_path / "in.parquet", part.schema, compression="none") as writer:
        for _ in range(parts):
            writer.write_table(part)
    held = []
    before = pa.total_allocated_bytes()
    scored(
        tmp_path / "in.parquet",
        progress=lambda *_: held.append(pa.total_allocated_bytes() - before),
    )
    assert len(held) > 5
    assert max(held) < part.nbytes * parts / 2


def test_a_large_set_is_cut_into_shards_by_itself():
    assert [shards_for(n) for n in (0, 10, 2_000_000, 2_000_001, 10_000_000, 10**12)] == [
        1, 1, 1, 3, 10, 1000,
    ]  # fmt: skip


def test_infinity_that_is_declared(scored, bundle, tmp_path):
    table = rows_of()
    values = table["x1"].to_numpy().copy()
    values[::9] = np.inf
    table = table.set_column(table.column_names.index("x1"), "x1", [values])
    source = write(table, tmp_path / "in.parquet")
    with pytest.raises(BadData, match="infinity is not declared"):
        scored(source)
    assert scored(source, rules=Rules({"x1"})).rows == ROWS
    out = pq.read_table(tmp_path / "out.parquet")["probability"].to_numpy()
    np.testing.assert_array_equal(out, expected(bundle, table)[:, 0])
