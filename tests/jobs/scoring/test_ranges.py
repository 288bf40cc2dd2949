"""Parquet far away: read in ranges, row group by row group, from a store."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

from jobs.scoring import ranges
from jobs.scoring.engine import Columns
from jobs.scoring.ranges import RangeFile
from jobs.scoring.sources import find_sources
from registry.artifacts.store import open_store
from registry.artifacts.store.memory import MemoryStore
from registry.errors import NotFound
from registry.settings import Settings
from tests.jobs.scoring.conftest import ROWS, rows_of, write


class Counting(MemoryStore):
    """Remembers which ranges were asked for."""

    asked: list[tuple[int, int]]

    def get_range(self, key: str, start: int, end: int) -> bytes:
        self.asked.append((start, end))
        return super().get_range(key, start, end)


@pytest.mark.usefixtures("no_thread_leaks")
def test_a_range_file_reads_like_a_file(monkeypatch):
    monkeypatch.setattr(ranges, "PART", 100)
    data = random.Random(1).randbytes(5000)
    store = Counting(objects={"key": data})
    store.asked = []
    draw, plain = random.Random(2), io.BytesIO(data)
    with RangeFile(store, "key") as file:
        for turn in range(300):
            if turn % 20 == 0:
                start = draw.randrange(4900)
                file.expect([(start, min(5000, start + draw.randrange(1, 900)))])
            where, count = draw.randrange(5200), draw.randrange(400)
            file.seek(where)
            plain.seek(where)
            assert file.read(count) == plain.read(count)
            assert file.tell() == plain.tell()
        file.seek(-7, io.SEEK_END)
        assert file.read() == data[-7:]


def test_what_is_expected_is_fetched_once():
    data = bytes(range(256)) * 4
    store = Counting(objects={"key": data})
    store.asked = []
    with RangeFile(store, "key") as file:
        file.expect([(0, 100), (100, 300)])
        file.expect([(100, 300), (300, 400)])
        for start in (120, 350, 280):
            file.seek(start)
            assert file.read(20) == data[start : start + 20]
    assert sorted(store.asked) == [(0, 100), (100, 300), (300, 400)]


def test_scoring_from_s3(scored, s3_url, tmp_path):
    store = open_store(s3_url)
    for number in range(2):
        path = write(rows_of().slice(number * 1500, 1500), tmp_path / f"{number}.parquet")
        store.create_from(f"rows/{number}.parquet", path)
    (tmp_path / "here").mkdir()
    write(rows_of(), tmp_path / "here" / "in.parquet")
    assert scored(f"{s3_url}/rows", columns=Columns(["id"])).rows == ROWS
    scored(tmp_path / "here", columns=Columns(["id"]), target="here.parquet")
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "here.parquet").read_bytes()
    assert scored(f"{s3_url}/rows/1*.parquet", target="one.parquet").rows == 1500
    with pytest.raises(NotFound):
        find_sources([f"{s3_url}/nothing"], Settings.load())


def test_an_object_that_is_gone(scored, s3_url: str, tmp_path: Path):
    with pytest.raises(NotFound):
        scored(f"{s3_url}/gone.parquet")
