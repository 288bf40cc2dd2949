"""Attempts are numbered, and whoever loses the race for a number adopts the winner's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from registry.artifacts import layout
from registry.artifacts.attempt import (
    Attempt,
    AttemptEnd,
    attempts_of,
    close_attempt,
    end_of,
    read_attempt,
)
from registry.artifacts.store import Store, once
from registry.artifacts.store.local import LocalStore
from registry.artifacts.store.memory import MemoryStore
from registry.errors import BadData, NotFound
from tests.faults import FAULTS, FaultyStore, Schedule
from tests.races import PATIENCE, race_processes, race_threads
from tests.registry.makers import a_recipe, an_attempt

END = AttemptEnd("committed", "", 0, {"peak_rss_mb": 12.5}, 1.5e9)


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return LocalStore(tmp_path / "store") if request.param == "local" else MemoryStore()


def test_an_attempt_is_recorded_with_its_recipe(store: Store):
    attempt = an_attempt(store, timeout=60)
    assert attempt.path == f"attempts/{a_recipe().key}/0001.json"
    assert read_attempt(store, attempt.path) == attempt
    assert attempt.spec.recipe.recipe().key == attempt.key == a_recipe().key
    assert attempt.deadline == attempt.created + 60


def test_who_comes_second_adopts_the_first(store: Store):
    first = an_attempt(store, run="run-1")
    second = an_attempt(store, run="run-2", timeout=1)
    assert second == first


def test_racing_threads_share_one_attempt(store: Store):
    opened: list[Attempt] = race_threads(8, lambda number: an_attempt(store, run=f"run-{number}"))
    assert len({attempt.write_id for attempt in opened}) == 1
    assert attempts_of(store, a_recipe().key) == [opened[0]]


def test_racing_processes_share_one_attempt(tmp_path: Path):
    ids = race_processes(4, _open_ten, str(tmp_path))
    assert all(len({one[turn] for one in ids}) == 1 for turn in range(10))
    attempts = attempts_of(LocalStore(tmp_path), a_recipe().key)
    assert [attempt.number for attempt in attempts] == list(range(1, 11))


def _open_ten(number: int, barrier: Any, folder: str) -> list[str]:
    store = LocalStore(Path(folder))
    ids = []
    for turn in range(10):
        barrier.wait(PATIENCE)
        ids.append(an_attempt(store, number=turn + 1, run=f"run-{number}").write_id)
    return ids


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_does_not_make_two_of_one(store: Store, fault: str, monkeypatch: Any):
    monkeypatch.setattr(once, "_FIRST_DELAY", 0)
    attempt = an_attempt(FaultyStore(store, Schedule(fault)))
    assert attempts_of(store, attempt.key) == [attempt]


def test_attempts_come_in_the_order_of_their_numbers(store: Store):
    for number in (10000, 2, 9999, 1):
        an_attempt(store, number=number)
    numbers = [attempt.number for attempt in attempts_of(store, a_recipe().key)]
    assert numbers == [1, 2, 9999, 10000]


def test_an_end_is_kept_once_with_the_log(store: Store):
    attempt = an_attempt(store)
    with pytest.raises(NotFound):
        end_of(store, attempt)
    close_attempt(store, attempt, END, b"the last line\n")
    close_attempt(store, attempt, AttemptEnd("lost", "gone", None, {}, 2e9), b"other")
    assert end_of(store, attempt) == END
    assert store.get(layout.attempt_log_path(attempt.key, 1)) == b"the last line\n"
    assert attempts_of(store, attempt.key) == [attempt]


def test_a_damaged_record_is_named_and_a_copy_does_not_count(store: Store):
    attempt = an_attempt(store)
    store.create(attempt.path + ".bak", b"a copy that somebody kept")
    assert attempts_of(store, attempt.key) == [attempt]
    store.create(layout.attempt_path(attempt.key, 2), b"{}")
    with pytest.raises(BadData, match=r"0002\.json"):
        attempts_of(store, attempt.key)
    with pytest.raises(BadData, match=r"0002\.json"):
        an_attempt(store, number=2)
