"""Killed at any point, a writer loses nothing and doubles nothing."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.campaigns import crash
from tests.plugins.campaign import Campaign


@pytest.mark.campaign
def test_a_killed_writer_loses_nothing_and_doubles_nothing(campaign: Campaign, tmp_path: Path):
    """Every point is hit by a writer alone; half of the rounds have a rival."""
    hits: Counter[str] = Counter()
    for turn in campaign.rounds(short=2 * len(crash.CASES)):
        folder = tmp_path / str(turn.number)
        hits += crash.play(crash.plan_of(turn.number, turn.random), folder)
        shutil.rmtree(folder)
    if campaign.only is None:
        assert set(hits) == {case.partition(":")[0] for case in crash.CASES}
