"""The parts of the request log: pieces, columns, files, what is held and what is lost."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import requestlog as names
from registry.models.signature import Input, Output, Signature
from serving.gateway.metrics import Metrics
from serving.requestlog.files import LogFiles
from serving.requestlog.record import LONGEST, PIECE, Record, frame, read_frame, text_of
from serving.requestlog.table import Shape
from serving.requestlog.writer import WAITING, Writer
from tests.serving.conftest import ROWS
from tests.serving.models import SIGNATURE
from tests.serving.requestlog.makers import VERSION, a_record

WIDE = Signature(
    (Input("a"), Input("n", "int64"), Input("b", "bool"), Input("c", "category", ("x", "y"))),
    (Output("p"), Output("q")),
)


@given(st.integers(1, 3000), st.integers(0, 3), st.booleans(), st.text(max_size=60))
def test_pieces_put_together_are_the_record(
    rows: int, texts: int, answered: bool, text: str
) -> None:
    whole = Record(
        "m", "v", 1, "r", 1.0, 0.1, 200, 7, rows, np.arange(rows * 2.0).tobytes(),
        [[f"{text}{i}" for i in range(rows)] for _ in range(texts)],
        np.arange(float(rows)).tobytes() if answered else b"",
    )  # fmt: skip
    pieces = list(whole.pieces())
    assert max(map(len, pieces)) <= PIECE
    parts = [part for piece in pieces for part in read_frame(frame([piece]))]
    assert [part.row for part in parts] == list(np.cumsum([7, *(p.rows for p in parts)])[:-1])
    assert sum(part.rows for part in parts) == rows
    assert b"".join(part.inputs for part in parts) == whole.inputs
    assert b"".join(part.outputs for part in parts) == whole.outputs
    for i in range(texts):
        assert [t for part in parts for t in part.texts[i]] == whole.texts[i]


def test_a_row_that_no_piece_can_hold_is_lost() -> None:
    short = a_record(SIGNATURE, ROWS[:1], [0.5])
    broad = msgspec.structs.replace(short, inputs=b"x" * 100_000)
    assert list(broad.pieces()) == []
    assert text_of("y" * 10_000) == "y" * LONGEST
    assert text_of(3.0) is None


def test_columns_are_typed_as_the_signature_says() -> None:
    shape = Shape(WIDE, ["a"])
    good = Record(
        "m", VERSION, 3, "r-1", 1e9, 0.0025, 200, 5, 2,
        np.array([[1.0, 2.0**53, 1.0, 0.0], [np.nan] * 4]).tobytes(),
        [["x", "never seen"]], np.array([[0.5, np.nan], [0.25, -1.0]]).tobytes(),
    )  # fmt: skip
    bad = Record("m", VERSION, 3, "r-2", 1e9, 0.5, 503, 0, 1, np.zeros(4).tobytes(), [[None]], b"")
    assert shape.fits(good)
    assert shape.fits(bad)
    table = shape.table([good, bad])
    assert table.schema.field("n").type == pa.int64()
    assert table.schema.field("b").type == pa.bool_()
    told = table.drop_columns([names.TIME]).to_pylist()
    known = {
        names.REQUEST: "r-1", names.MODEL: "m", names.VERSION: VERSION, names.REVISION: 3,
        names.STATUS: 200, names.LATENCY: 2.5,
    }  # fmt: skip
    assert told[0] | {"output.q": None} == known | {
        names.ROW: 5, "n": 2**53, "b": True, "c": "x", "output.p": 0.5, "output.q": None
    }  # fmt: skip
    assert np.isnan(told[0]["output.q"])  # an answer that is no number is an answer
    assert told[1] == known | {
        names.ROW: 6, "n": None, "b": None, "c": "never seen", "output.p": 0.25, "output.q": -1.0
    }  # fmt: skip
    assert (told[2]["output.p"], told[2][names.STATUS], told[2]["n"]) == (None, 503, 0)
    assert table[names.TIME][0].as_py() == dt.datetime.fromtimestamp(1e9, dt.UTC)
    assert json.loads(table.schema.metadata[names.OMITTED]) == ["a"]
    assert json.loads(table.schema.metadata[names.SIGNATURE])["inputs"][0]["name"] == "a"


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": 2}, {"rows": 0}, {"inputs": b"x" * 24}, {"texts": []}, {"texts": [["DL", "DL"]]},
        {"outputs": b"12345678" * 2},
    ],
)  # fmt: skip
def test_a_record_of_another_shape_is_not_taken(wrong: dict[str, object]) -> None:
    record = a_record(SIGNATURE, ROWS[:1], [0.5])
    shape = Shape(SIGNATURE, [])
    assert shape.fits(record)
    odd = msgspec.structs.replace(record, **wrong)
    assert shape.fits(odd) == (wrong == {"inputs": b"x" * 24})  # three numbers of any kind


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def writer(tmp_path: Path, clock: Clock) -> Writer:
    made = Writer(LogFiles(tmp_path, 1 << 30), Metrics(), most=20_000, age=60, clock=clock)
    made.know("flights", VERSION, SIGNATURE)
    return made


def rows_in(folder: Path) -> list[int]:
    return [pq.read_metadata(path).num_rows for path in names.log_files(folder)]


def test_a_file_is_written_when_there_is_enough_or_it_is_time(
    writer: Writer, clock: Clock, tmp_path: Path
) -> None:
    record = a_record(SIGNATURE, ROWS, [0.5] * 16)
    writer.take([record])
    writer.look()
    clock.now += 59
    writer.look()
    assert rows_in(tmp_path) == []
    clock.now += 1
    writer.look()
    eventually(lambda: rows_in(tmp_path) == [16])
    for _ in range(30):  # some 700 bytes each
        writer.take([record])
        time.sleep(0.005)
    eventually(lambda: len(rows_in(tmp_path)) >= 2)
    writer.close()
    assert sum(rows_in(tmp_path)) == 16 * 31
    assert writer._metrics.values() == {
        (("request_log_rows_total"), (("model", "flights"), ("version", VERSION))): [16.0 * 31]
    }


def eventually(check: Callable[[], bool], patience: float = 30.0) -> None:
    deadline = time.monotonic() + patience
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def dropped(writer: Writer, reason: str) -> float:
    found = writer._metrics.values().get(
        ("request_log_dropped_total", (("reason", reason),)), [0.0]
    )
    return found[0]


def test_what_nobody_knows_is_dropped_and_counted(writer: Writer, tmp_path: Path) -> None:
    writer.take([a_record(SIGNATURE, ROWS, [0.5] * 16, version="f" * 16)])
    assert dropped(writer, "unknown") == 1
    writer.close()
    assert rows_in(tmp_path) == []


def test_a_disk_that_fails_costs_the_rows_and_nothing_else(tmp_path: Path) -> None:
    in_the_way = tmp_path / "log"
    in_the_way.write_text("no folder")
    writer = Writer(LogFiles(in_the_way, 1 << 30), Metrics(), most=1, age=60)
    writer.know("flights", VERSION, SIGNATURE)
    record = a_record(SIGNATURE, ROWS, [0.5] * 16)
    writer.take([record])
    eventually(lambda: writer._settled() and dropped(writer, "disk") == 1)
    in_the_way.unlink()
    writer.take([record])
    writer.close()
    assert rows_in(in_the_way) == [16]


def test_a_disk_that_is_slow_holds_up_nobody(tmp_path: Path) -> None:
    import threading

    go = threading.Event()

    class Slow(LogFiles):
        """A real disk cannot be told to wait."""

        def write(self, model: str, version: str, table: pa.Table) -> Path:
            go.wait(30)
            return super().write(model, version, table)

    writer = Writer(Slow(tmp_path, 1 << 30), Metrics(), most=1, age=60)
    writer.know("flights", VERSION, SIGNATURE)
    for _ in range(10):
        writer.take([a_record(SIGNATURE, ROWS, [0.5] * 16)])
    assert rows_in(tmp_path) == []  # whoever had waited for the disk would find something there
    go.set()
    writer.close()
    assert len(rows_in(tmp_path)) == WAITING
    assert dropped(writer, "disk") == 10 - WAITING


def test_the_oldest_files_make_room(tmp_path: Path) -> None:
    files = LogFiles(tmp_path, 0)
    table = Shape(SIGNATURE, []).table([a_record(SIGNATURE, ROWS, [0.5] * 16)])
    written = [files.write("flights", version, table) for version in ("1" * 16, "2" * 16, "2" * 16)]
    (tmp_path / "mine.parquet").write_bytes(b"of somebody else")
    size = written[0].stat().st_size
    files._budget = 2 * size + 10
    assert files.keep_to_budget() == 1
    assert names.log_files(tmp_path) == written[1:]
    assert not written[0].parent.exists()
    assert (tmp_path / "mine.parquet").exists()


WRITES = """
import sys
from pathlib import Path
from serving.requestlog.files import LogFiles
from serving.requestlog.table import Shape
from tests.serving.conftest import ROWS
from tests.serving.models import SIGNATURE
from tests.serving.requestlog.makers import a_record
table = Shape(SIGNATURE, []).table([a_record(SIGNATURE, ROWS, [0.5] * 16)] * 500)
files = LogFiles(Path(sys.argv[1]), 1 << 30)
files.sweep()
print("ready", flush=True)
while True:
    files.write("flights", "1" * 16, table)
"""


def test_a_writer_that_is_killed_leaves_no_half_file(tmp_path: Path) -> None:
    left = 0
    for number in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITES, str(tmp_path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.05 + 0.0007 * number)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        left += len(list(tmp_path.rglob(".*.parquet")))
    assert set(rows_in(tmp_path)) == {8000}
    for path in names.log_files(tmp_path):
        pq.read_table(path)
    LogFiles(tmp_path, 1 << 30).sweep()
    assert left > 0, "no kill came in the middle of a file"
    assert list(tmp_path.rglob(".*.parquet")) == []


def test_a_file_that_is_being_written_is_not_swept(tmp_path: Path) -> None:
    import fcntl

    under_way = tmp_path / ".20260101T000000Z-h-1-000001.parquet"
    with under_way.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        LogFiles(tmp_path, 1 << 30).sweep()
        assert under_way.exists()
    LogFiles(tmp_path, 1 << 30).sweep()
    assert not under_way.exists()
