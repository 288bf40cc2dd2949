"""`penstock score` on hostile rows, as it is typed: what it says, writes, and ends with."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.jobs.scoring.conftest import FAULTS, expected, hostile, rows_of, write

ROOT = Path(__file__).resolve().parents[3]
COUNT = 5_000
#: In a column of texts, bytes that are none.
WRONG = b"\xff\xfe"
KINDS = ["id", "infinity", "category", "text", "bytes"]


def call(bundle, folder, *more):
    """`penstock score` in a process of its own."""
    words = ["score", "in.parquet", "out.parquet", "--model", str(bundle.folder), "--id", "id"]
    return subprocess.run(
        [sys.executable, "-m", "penstock", *words, "--quarantine-limit", "0.1%", *more],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def spoilt(folder, share):
    """Write rows of which `share` are hostile; these rows, and what is wrong with each."""
    rows = sorted(random.Random(3).sample(range(COUNT), round(share * COUNT)))
    faults = {row: KINDS[n % len(KINDS)] for n, row in enumerate(rows)}
    table = hostile(rows_of(COUNT), {r: f for r, f in faults.items() if f != "bytes"})
    kinds = [None if kind is None else kind.encode() for kind in table["kind"].to_pylist()]
    for row, fault in faults.items():
        if fault == "bytes":
            kinds[row] = WRONG
    place = table.column_names.index("kind")
    write(table.set_column(place, "kind", pa.array(kinds, pa.binary())), folder / "in.parquet")
    return faults


def told_of(row, fault):
    column, _, reason = FAULTS.get(fault, ("kind", None, "expected text in UTF-8"))
    return row, None if fault == "id" else f"r{row}", column, reason


@pytest.mark.parametrize("shards", ["1", "3"])
def test_one_row_in_a_thousand_is_named_with_its_reason(bundle, tmp_path, shards):
    faults = spoilt(tmp_path, 0.001)
    assert set(faults.values()) == set(KINDS)
    done = call(bundle, tmp_path, "--shards", shards, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["rows"], document["quarantined"]) == (COUNT - len(faults), len(faults))
    lines = pq.read_table(tmp_path / "out.quarantine.parquet").to_pylist()
    for line, (row, fault) in zip(lines, faults.items(), strict=True):
        where, who, column, reason = told_of(row, fault)
        assert (line["row"], line["id"], line["column"]) == (where, who, column)
        assert line["reason"].endswith(reason)
    fine = rows_of(COUNT).filter(pa.array([row not in faults for row in range(COUNT)]))
    out = pq.read_table(tmp_path / "out.parquet")
    assert out["id"].to_pylist() == fine["id"].to_pylist()
    assert out["probability"].to_numpy().tobytes() == expected(bundle, fine)[:, 0].tobytes()


@pytest.mark.parametrize("shards", ["1", "3"])
def test_one_row_in_twenty_ends_with_65_and_commits_nothing(bundle, tmp_path, shards):
    spoilt(tmp_path, 0.05)
    before = {path.name for path in tmp_path.iterdir()}
    done = call(bundle, tmp_path, "--shards", shards)
    assert done.returncode == 65
    assert "rows so far are bad, where 5 may be" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} - before <= {"var"}
