"""Broken model texts, in processes of their own: an error or LightGBM's numbers, nothing else."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys

import pytest

from tests.registry.models.forest import native

pytestmark = pytest.mark.timeout(0)

#: Mutations of one process; one that takes longer than this many seconds hangs.
COUNT, SECONDS = 500, 3000


def play(seed: int, environment: dict[str, str]) -> dict[str, int]:
    command = [sys.executable, "-m", "tests.registry.models.forest.mutation", str(seed), str(COUNT)]
    done = subprocess.run(
        command,
        capture_output=True,
        timeout=SECONDS,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")[-3000:]
    tally: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return tally


def check(campaign, environment: dict[str, str]) -> None:
    tally = collections.Counter[str]()
    for turn in campaign.rounds(short=1):
        tally.update(play(turn.random.randrange(2**31), environment))
    print(dict(tally))
    assert min(tally["refused"], tally["equal"]) > tally["tried"] / 10


@pytest.mark.campaign
def test_a_broken_text_is_an_error_or_right(campaign):
    check(campaign, {})


@pytest.mark.campaign
def test_sanitisers_see_nothing_in_a_broken_text(campaign, tmp_path):
    check(campaign, native.sanitised_library(tmp_path / "forest.so")[1])
