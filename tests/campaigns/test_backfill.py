"""Sixty days of flights by the command, killed three times, and once left alone: the same artifacts.

The short form, of small jobs killed at every kind of moment, is in `tests/pipelines/test_backfill.py`.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.aliases.decision import DecisionLog
from registry.artifacts.fetch import read_manifest
from registry.artifacts.store import open_environment
from registry.settings import Settings
from tests.campaigns.pipeline import ROOT
from tests.plugins.campaign import Campaign

FIRST = dt.date(2013, 3, 10)
DAYS, KILLS = 60, 3
PATIENCE = 4 * 3600

pytestmark = pytest.mark.timeout(0)


@pytest.mark.campaign
def test_sixty_days_of_flights_survive_three_kills(campaign: Campaign, tmp_path: Path):
    if not campaign.long:
        pytest.skip("takes half an hour: make campaign ARGS=tests/campaigns/test_backfill.py")
    assert _backfill(tmp_path / "whole").wait(PATIENCE) == 0
    whole = _contents(tmp_path / "whole")
    for threshold in _thresholds(next(campaign.rounds(short=1)).random, len(whole)):
        _kill_at(threshold, tmp_path / "killed")
    assert _backfill(tmp_path / "killed").wait(PATIENCE) == 0
    assert _contents(tmp_path / "killed") == whole
    verdicts = _verdicts(tmp_path / "whole")
    assert _verdicts(tmp_path / "killed") == verdicts
    assert len(verdicts) == 2 * DAYS
    print(f"{len(whole)} artifacts, {len(verdicts)} verdicts, {KILLS} kills")


def _thresholds(drawn: random.Random, artifacts: int) -> list[int]:
    """After how many artifacts each kill comes."""
    return sorted(drawn.sample(range(artifacts // 20, artifacts * 19 // 20), KILLS))


def _kill_at(artifacts: int, folder: Path) -> None:
    """Begin, and SIGKILL the pipeline (its jobs live on) as soon as there are so many artifacts."""
    process = _backfill(folder)
    while len(list(_manifests(folder))) < artifacts:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.05)
    process.kill()
    assert process.wait() == -signal.SIGKILL


def _backfill(folder: Path) -> subprocess.Popen[bytes]:
    last = FIRST + dt.timedelta(days=DAYS - 1)
    words = ["backfill", "flights", "--from", str(FIRST), "--to", str(last)]
    command = [sys.executable, "-m", "penstock", *words]
    folder.mkdir(exist_ok=True)
    with (folder / "output").open("ab") as output:
        return subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **_environment(folder)}, stdout=output,
            stderr=subprocess.STDOUT,
        )  # fmt: skip


def _environment(folder: Path) -> dict[str, str]:
    return {"PENSTOCK_STORE": str(folder / "store"), "PENSTOCK_VAR": str(folder / "var")}


def _manifests(folder: Path) -> Iterator[Path]:
    return (folder / "store").rglob("manifests/**/*.json")


def _contents(folder: Path) -> dict[str, str]:
    """The content digest of each artifact by its key."""
    store = open_environment(Settings.load(_environment(folder)))
    found = [read_manifest(store, path) for path in store.list("manifests/")]
    return {manifest.key: manifest.content for manifest in found}


def _verdicts(folder: Path) -> list[tuple[str, str, str]]:
    """What was decided about which candidate, in order, at both horizons."""
    log = DecisionLog(open_environment(Settings.load(_environment(folder))))
    names = ("flights", "flights-dayahead")
    entries = [(name, entry) for name in names for entry in log.entries(name, "champion")]
    return [(name, entry.candidate.key, entry.action) for name, entry in entries]
