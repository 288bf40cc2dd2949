"""Hostile rows: every one named, the rest scored; too many, and nothing is written."""

from __future__ import annotations

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.scoring import quarantine
from jobs.scoring.engine import Columns
from jobs.scoring.rules import Rules, parse_limit
from registry.errors import BadData, UsageError
from tests.jobs.scoring.conftest import FAULTS, ROWS, expected, hostile, rows_of, write

pytestmark = pytest.mark.usefixtures("no_fd_leaks", "no_thread_leaks")
LIMIT = Rules(share=0.001)


def planned(share, count=ROWS):
    """Rows and their faults, the kinds in turn."""
    draw = random.Random(7)
    rows = sorted(draw.sample(range(count), round(share * count)))
    return {row: list(FAULTS)[n % len(FAULTS)] for n, row in enumerate(rows)}


@pytest.mark.parametrize("shards", [1, 4])
def test_one_row_in_a_thousand_is_named_and_the_rest_is_scored(
    scored, bundle, tmp_path, shards, monkeypatch
):
    count = 5000
    monkeypatch.setattr(quarantine, "_HELD", 2)
    faults = planned(0.001, count)
    assert set(faults.values()) == set(FAULTS)
    source = write(hostile(rows_of(count), faults), tmp_path / "in.parquet")
    done = scored(source, columns=Columns(["id"]), rules=LIMIT, shards=shards)
    assert (done.rows, done.quarantined) == (count - len(faults), len(faults))
    told = pq.read_table(tmp_path / "out.quarantine.parquet").to_pylist()
    assert told == [
        {
            "source": str(source),
            "row": row,
            "id": None if fault == "id" else f"r{row}",
            "column": FAULTS[fault][0],
            "reason": FAULTS[fault][2],
        }
        for row, fault in faults.items()
    ]
    fine = rows_of(count).filter(pa.array([row not in faults for row in range(count)]))
    out = pq.read_table(tmp_path / "out.parquet")
    assert out["id"].to_pylist() == fine["id"].to_pylist()
    assert out["probability"].to_numpy().tobytes() == expected(bundle, fine)[:, 0].tobytes()


@pytest.mark.parametrize("shards", [1, 4])
def test_one_row_in_twenty_stops_it_and_nothing_is_there(scored, tmp_path, shards):
    source = write(hostile(rows_of(), planned(0.05)), tmp_path / "in.parquet")
    with pytest.raises(BadData, match=r"rows so far are bad, where 3 may be") as raised:
        scored(source, columns=Columns(["id"]), rules=LIMIT, shards=shards)
    assert raised.value.exit_code == 65
    assert str(source) in raised.value.why
    assert not list(tmp_path.glob("out*"))


def test_without_a_limit_the_first_bad_row_is_too_many(scored, tmp_path):
    source = write(hostile(rows_of(), {17: "category"}), tmp_path / "in.parquet")
    with pytest.raises(BadData, match=r"row 17 \(r17\), kind 'c99'"):
        scored(source, columns=Columns(["id"]))
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_a_row_with_two_faults_counts_once(scored, tmp_path):
    table = hostile(rows_of(), {3: "text"})
    table = hostile(table.set_column(table.column_names.index("x4"), "x4", rows_of()["x4"]), {})
    columns = {name: table[name].to_pylist() for name in table.column_names}
    columns["x4"][3], columns["x1"][3] = "?", float("inf")
    done = scored(write(pa.table(columns), tmp_path / "in.parquet"), rules=Rules(rows=1))
    assert (done.rows, done.quarantined) == (ROWS - 1, 1)
    assert quarantine.count_rows(tmp_path / "out.quarantine.parquet") == 1
    assert pq.read_metadata(tmp_path / "out.quarantine.parquet").num_rows == 2


def test_bytes_that_are_no_text(scored, tmp_path):
    table = rows_of()
    kinds = [None if kind is None else kind.encode() for kind in table["kind"].to_pylist()]
    kinds[40] = b"\xff\xfe"
    raw = pa.array(kinds, pa.binary())
    for name, column in (("bytes", raw), ("texts", _unchecked(raw))):
        bad = table.set_column(table.column_names.index("kind"), "kind", column)
        source = write(bad, tmp_path / f"{name}.parquet")
        scored(source, rules=Rules(rows=1), target=f"{name}-out.parquet")
        told = pq.read_table(tmp_path / f"{name}-out.quarantine.parquet").to_pylist()
        assert [(line["row"], line["column"]) for line in told] == [(40, "kind")]
        assert told[0]["reason"].endswith("expected text in UTF-8")


def _unchecked(raw):
    """The same bytes, called texts."""
    return pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())


@pytest.mark.parametrize(
    ("text", "want"),
    [("0.1%", (0.001, None)), ("500", (None, 500)), ("5%, 7", (0.05, 7)), ("0", (None, 0))],
)
def test_limits(text, want):
    assert parse_limit(text) == pytest.approx(want)


@pytest.mark.parametrize("text", ["", "many", "-1", "1%%", "0.5", "1,"])
def test_limits_that_are_not_understood(text):
    with pytest.raises(UsageError, match=r"0\.1%"):
        parse_limit(text)


@pytest.mark.parametrize(
    ("rules", "most"),
    [(Rules(), 0), (Rules(share=0.001), 3), (Rules(rows=7), 7), (Rules(share=0.5, rows=7), 7)],
)
def test_where_two_limits_are_given_both_hold(rules, most):
    assert rules.most(ROWS) == most
