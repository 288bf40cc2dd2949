"""The first place in which two files differ, by what they hold."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from registry.difference import first_difference


def table(**columns: Any) -> pa.Table:
    return pa.table(columns)


JSON = [
    ({"a": 1}, {"a": 2}, "field a: 1 against 2"),
    ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, "field a.b[1]: 2 against 3"),
    ({"a": 1}, {"a": 1, "b": 2}, "field b is only in the second"),
    ({"a": 1, "b": 2}, {"a": 1}, "field b is only in the first"),
    ({"a": 1}, {"a": 1.0}, "field a: 1 against 1.0"),
    ([1], [1, 2], "field at the top: [1] against [1, 2]"),
]
TABLES = [
    (table(a=[1, 2]), table(a=[1, 3]), "row 1, column a: 2 against 3"),
    (table(a=[1, 2], b=[0, 0]), table(a=[1, 3], b=[9, 0]), "row 0, column b: 0 against 9"),
    (table(a=[1]), table(b=[1]), "column a is only in one of them"),
    (table(a=[1]), table(a=[1.0]), "column a is of type int64 against double"),
    (table(a=[1]), table(a=[1, 2]), "1 rows against 2"),
    (
        table(a=[float("nan"), 1.0]),
        table(a=[float("nan"), 2.0]),
        "row 1, column a: 1.0 against 2.0",
    ),
    (table(a=["x", None]), table(a=["x", "y"]), "row 1, column a: None against 'y'"),
]


@pytest.mark.parametrize(("old", "new", "told"), JSON)
def test_json(tmp_path: Path, old: Any, new: Any, told: str):
    for name, value in (("old.json", old), ("new.json", new)):
        (tmp_path / name).write_text(json.dumps(value))
    assert first_difference(tmp_path / "old.json", tmp_path / "new.json") == told


@pytest.mark.parametrize(("old", "new", "told"), TABLES)
def test_tables(tmp_path: Path, old: pa.Table, new: pa.Table, told: str):
    pq.write_table(old, tmp_path / "old.parquet")
    pq.write_table(new, tmp_path / "new.parquet")
    assert first_difference(tmp_path / "old.parquet", tmp_path / "new.parquet") == told


def test_equal_rows_in_other_bytes(tmp_path: Path):
    pq.write_table(table(a=[1, 2]), tmp_path / "old.parquet")
    pq.write_table(table(a=[1, 2]), tmp_path / "new.parquet", compression="gzip")
    found = first_difference(tmp_path / "old.parquet", tmp_path / "new.parquet")
    assert found == "every row is equal; the files were written differently"


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("a.txt", b"one\ntwo\n", b"one\ntoo\n", "line 2: two against too"),
        ("a.csv", b"one\n", b"one\ntwo\n", "line 2: nothing against two, which is longer"),
        ("a.cbm", b"abc", b"abd", "byte 2 of 3 against 3"),
        ("a.cbm", b"abc", b"abcd", "byte 3 of 3 against 4"),
        ("a.json", b"{", b"{}", "one of them cannot be read as json"),
        ("a.json", b"{}", b"{ }", "the values are equal, their spelling is not"),
        ("a.parquet", b"x", b"y", "one of them cannot be read as parquet"),
    ],
)
def test_other_files(tmp_path: Path, name: str, old: bytes, new: bytes, told: str):
    for folder, data in (("old", old), ("new", new)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(data)
    found = first_difference(tmp_path / "old" / name, tmp_path / "new" / name)
    assert found is not None
    assert found.startswith(told)


def test_as_a_program(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"x")
    command = [sys.executable, "-m", "registry.difference", *[str(tmp_path / "a")] * 2]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"difference": None}
