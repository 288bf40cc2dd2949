from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from registry.errors import BadData, NotFound
from registry.features.files import as_label, as_utc, on_day, read_file
from registry.features.view import AS_OF

NOON = dt.datetime(2024, 3, 31, 12, tzinfo=dt.UTC)


def csv(tmp_path, text):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    return path


def test_ids_keep_their_zeros_and_what_is_missing_is_null(tmp_path):
    path = csv(tmp_path, "id,n,kind\n007,1,a\n008,NA,\n")
    table = read_file(path, {"kind": pa.string(), "id": pa.string(), "n": pa.int64()})
    assert table.to_pydict() == {"kind": ["a", None], "id": ["007", "008"], "n": [1, None]}


@pytest.mark.parametrize(
    "text", ["2024-03-31T12:00:00Z", "2024-03-31 12:00:00", "2024-03-31T14:00:00+0200"]
)
def test_times_of_every_kind_are_utc(tmp_path, text):
    table = read_file(csv(tmp_path, f"at\n{text}\n"), {"at": AS_OF})
    assert table["at"].to_pylist() == [NOON]


def test_a_date_is_its_midnight(tmp_path):
    path = csv(tmp_path, "at\n2024-03-31\n")
    assert as_utc(read_file(path), "at").to_pylist() == [NOON.replace(hour=0)]


def test_a_day_begins_with_its_midnight_and_ends_before_the_next():
    day = NOON.date()
    midnight = NOON.replace(hour=0)
    end = midnight + dt.timedelta(days=1)
    last = end - dt.timedelta(microseconds=1)
    times = pa.chunked_array([[midnight, last, end]], AS_OF)
    assert on_day(times, day).to_pylist() == [True, True, False]


def test_a_label_is_one_of_two_texts():
    table = pa.table({"left": ["yes", "no", None]})
    assert as_label(table, "left", "yes").to_pylist() == [True, False, None]
    with pytest.raises(BadData, match="besides 'yes' it holds 'maybe', 'no'"):
        as_label(pa.table({"left": ["yes", "no", "maybe"]}), "left", "yes")


def test_parquet_is_read_in_the_types_that_are_asked_for(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"id": [7], "left": [True], "at": [NOON.date()], "more": [1]}), path)
    table = read_file(path, {"id": pa.string(), "left": pa.string(), "at": AS_OF})
    assert table.to_pylist() == [{"id": "7", "left": "true", "at": NOON.replace(hour=0)}]


def test_what_is_wrong_is_named(tmp_path):
    with pytest.raises(NotFound, match="no file"):
        read_file(tmp_path / "gone.csv")
    path = csv(tmp_path, "a,b\n1,x\n")
    with pytest.raises(BadData, match="has no column c: it has a, b"):
        read_file(path, {"c": pa.string()})
    with pytest.raises(BadData, match=r"not what sources\.py reads: .*'x'"):
        read_file(path, {"b": pa.int64()})
    with pytest.raises(BadData, match="the column b is string"):
        read_file(path, {"b": AS_OF})
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadData, match=r"rows\.parquet is not what"):
        read_file(tmp_path / "rows.parquet")


def test_line_ends_and_commas_in_quotes_are_text(tmp_path):
    """In a file of several blocks: a line end that a block stops at is no end of a row."""
    note = "two lines,\nthe second " + "x" * 300
    lines = "".join(f'{n},"{note}"\n' for n in range(8_000))
    table = read_file(csv(tmp_path, f"n,note\n{lines}"))
    assert table["n"].to_pylist() == list(range(8_000))
    assert set(table["note"].to_pylist()) == {note}
