"""A scoring that is killed at a named point is taken up by the next: nothing is scored twice."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.scoring.shards import Folder
from registry.crashpoints import POINTS
from registry.errors import BadData, UsageError
from tests.jobs.scoring.conftest import ROWS, hostile, rows_of, write

ROOT = Path(__file__).resolve().parents[3]
SHARDS = 4
#: A crash, and how many shards are finished by then.
MINE = [point for point in POINTS if point.startswith("score.")]


def call(bundle, folder, *more, **env):
    """`penstock score` in a process of its own."""
    words = ["score", "in.parquet", "out.parquet", "--model", str(bundle.folder), "--id", "id"]
    return subprocess.run(
        [sys.executable, "-m", "penstock", *words, "--shards", str(SHARDS),
         "--quarantine-limit", "10", "--json", *more],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("out*")}


@pytest.mark.campaign
def test_only_missing_shards_are_scored_after_a_kill(bundle, campaign, tmp_path):
    write(hostile(rows_of(), {100: "infinity", 2900: "category"}), tmp_path / "in.parquet")
    assert call(bundle, tmp_path).returncode == 0
    want = digests(tmp_path)
    assert len(want) == 2
    for turn in campaign.rounds(short=len(MINE) if bundle.flavor == "lightgbm" else 1):
        for path in tmp_path.glob("out*"):
            path.unlink()
        point = MINE[turn.number % len(MINE)]
        nth = 1 + turn.random.randrange(SHARDS) if "record" in point else 1
        died = call(bundle, tmp_path, PENSTOCK_CRASH_AT=f"{point}:{nth}")
        assert died.returncode == -signal.SIGKILL
        assert ("out.parquet" in digests(tmp_path)) == (point == "score.after_target")
        finished = {"score.before_record": nth - 1, "score.after_record": nth}.get(point, SHARDS)
        done = call(bundle, tmp_path)
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert (document["shards"], document["shards_found"]) == (SHARDS, finished)
        assert (document["rows"], document["quarantined"]) == (ROWS - 2, 2)
        assert digests(tmp_path) == want
        assert not list(tmp_path.glob(".*"))


def test_shards_of_another_input_are_not_taken(scored, bundle, tmp_path):
    source = write(hostile(rows_of(), {2900: "text"}), tmp_path / "in.parquet")
    with pytest.raises(BadData):
        scored(source, shards=SHARDS)
    assert len(list(tmp_path.glob(".out.parquet.shards/*.json"))) == SHARDS - 1
    write(rows_of(seed=6), source)
    assert scored(source, shards=SHARDS).found == 0


def test_a_shard_that_was_cut_is_scored_again(scored, tmp_path):
    source = write(hostile(rows_of(), {2900: "text"}), tmp_path / "in.parquet")
    with pytest.raises(BadData):
        scored(source, shards=SHARDS)
    first = tmp_path / ".out.parquet.shards" / "00000.parquet"
    first.write_bytes(first.read_bytes()[:-1])
    from jobs.scoring.rules import Rules

    assert scored(source, shards=SHARDS, rules=Rules(rows=1)).found == SHARDS - 2


def test_two_processes_do_not_score_into_one_file(scored, tmp_path):
    source = write(rows_of(), tmp_path / "in.parquet")
    with (
        Folder(tmp_path / ".out.parquet.shards").held("another"),
        pytest.raises(UsageError, match="another process"),
    ):
        scored(source)
    assert scored(source).rows == ROWS
