"""Searches whose pipeline is killed: nothing committed is made twice, and the table is the same."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from registry.artifacts.attempt import is_record, read_attempt
from tests.campaigns.pipeline import store_of
from tests.campaigns.searching import RUNGS, manifests, run_search
from tests.plugins.campaign import Campaign
from tests.races import PATIENCE, processes

pytestmark = pytest.mark.timeout(0)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The content digest of the table, the best and the page of a search that nobody killed."""
    folder = tmp_path_factory.mktemp("whole")
    finish(folder)
    return content(folder)


@pytest.mark.campaign
def test_a_killed_search(campaign: Campaign, uninterrupted: str, tmp_path: Path):
    """SIGKILL of the pipeline after a drawn number of evaluations; the next run ends it."""
    for turn in campaign.rounds(short=2):
        folder = tmp_path / str(turn.number)
        after = [RUNGS[0] // 2, sum(RUNGS[:2]) - 1][turn.number] if turn.number < 2 else None
        kill(folder, turn.random.randrange(sum(RUNGS)) if after is None else after)
        finish(folder)
        assert content(folder) == uninterrupted
        assert len(manifests(folder, "evaluation")) == sum(RUNGS)
        assert set(attempts(folder).values()) == {1}


def begin(folder: Path) -> Any:
    folder.mkdir(exist_ok=True)
    process = processes().Process(target=run_search, args=(folder,))
    process.start()
    return process


def kill(folder: Path, evaluations: int) -> None:
    """Run a pipeline and kill it when so many evaluations are committed."""
    process = begin(folder)
    deadline = time.monotonic() + 4 * PATIENCE
    while len(manifests(folder, "evaluation")) < evaluations:
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.join(PATIENCE)
    assert not manifests(folder, "search")


def finish(folder: Path) -> None:
    process = begin(folder)
    process.join(8 * PATIENCE)
    assert process.exitcode == 0


def content(folder: Path) -> str:
    (found,) = manifests(folder, "search")
    assert found.rows == sum(RUNGS)
    return found.content


def attempts(folder: Path) -> Counter[str]:
    """How many attempts each key had."""
    store = store_of(folder)
    paths = [path for path in store.list("attempts/") if is_record(path)]
    return Counter(read_attempt(store, path).key for path in paths)
