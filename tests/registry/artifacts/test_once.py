"""Exactly once, although replies may be lost."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from registry.artifacts.store import AlreadyExists, Store
from registry.artifacts.store.local import LocalStore
from registry.artifacts.store.memory import MemoryStore
from registry.artifacts.store.once import create_file_once, create_once, write_id
from registry.artifacts.store.probe import PROBE, require_conditional_create
from registry.errors import NotFound, Refused, StoreError, StoreUnwritable
from tests.faults import FAULTS, FaultyStore, Schedule
from tests.races import race_threads


class Sleeps(list[float]):
    """A clock that only remembers how long it was asked to sleep."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


THREE_FAULTS = sorted(set(itertools.product((*FAULTS, None), repeat=3)), key=str)


@pytest.mark.parametrize("faults", THREE_FAULTS)
def test_no_fault_makes_a_false_conflict_or_a_false_success(faults: Sequence[str | None]):
    store = MemoryStore()
    created = create_once(FaultyStore(store, Schedule(*faults)), "key", b"mine", Sleeps())
    assert created.mine
    assert store.get("key") == created.data == b"mine"


@pytest.mark.parametrize("faults", THREE_FAULTS)
def test_a_rival_who_was_first_is_never_called_mine(faults: Sequence[str | None]):
    store = MemoryStore()
    store.create("key", b"theirs")
    created = create_once(FaultyStore(store, Schedule(*faults)), "key", b"mine", Sleeps())
    assert not created.mine
    assert store.get("key") == created.data == b"theirs"


def test_four_failures_are_an_error_and_pauses_grow():
    sleeps = Sleeps()
    faulty = FaultyStore(MemoryStore(), Schedule(*["before"] * 4))
    with pytest.raises(StoreError, match="injected"):
        create_once(faulty, "key", b"mine", sleeps)
    assert sleeps == [0.1, 0.2, 0.4]


def test_a_rival_that_never_finishes_is_an_error():
    """S3 answers 409 while another upload of the key is under way; that one may fail."""
    faulty = FaultyStore(MemoryStore(), Schedule(*["conflict"] * 4))
    with pytest.raises(AlreadyExists):
        create_once(faulty, "key", b"mine", Sleeps())


class Unwritable(MemoryStore):
    """Refuses every write: what a read-only mount does, without needing root to mount one."""

    tries = 0

    def create(self, key: str, data: bytes) -> None:
        self.tries += 1
        raise StoreUnwritable(f"{key} refused")


def test_a_store_that_refuses_writes_is_not_asked_again():
    store = Unwritable()
    with pytest.raises(StoreUnwritable):
        create_once(store, "key", b"mine", Sleeps())
    assert store.tries == 1


def test_one_of_many_writers_is_mine_whatever_gets_lost():
    for turn in range(20):
        store = MemoryStore()

        def write(number: int, turn: int = turn, store: Store = store) -> bool:
            schedule = Schedule(rate=0.5, seed=f"{turn}:{number}")
            mine = b"%d" % number
            return create_once(FaultyStore(store, schedule), "key", mine, Sleeps()).mine

        won = race_threads(4, write)
        assert won.count(True) == 1
        assert store.get("key") == b"%d" % won.index(True)


@pytest.mark.parametrize("faults", THREE_FAULTS)
def test_a_file_arrives_whatever_gets_lost(faults: Sequence[str | None], tmp_path: Path):
    (tmp_path / "file").write_bytes(b"data")
    store = MemoryStore()
    create_file_once(FaultyStore(store, Schedule(*faults)), "key", tmp_path / "file", Sleeps())
    assert store.get("key") == b"data"


def test_a_file_that_never_arrives_is_an_error(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"data")
    faulty = FaultyStore(MemoryStore(), Schedule(*["before"] * 4))
    with pytest.raises(StoreError, match="injected"):
        create_file_once(faulty, "key", tmp_path / "file", Sleeps())


def test_write_ids_differ():
    assert len({write_id() for _ in range(1000)}) == 1000


def test_the_probe_leaves_one_object_and_may_be_repeated(tmp_path: Path):
    store = LocalStore(tmp_path)
    for _ in range(3):
        require_conditional_create(store)
    assert list(store.list("")) == [PROBE]


class Overwriting(MemoryStore):
    """Accepts the condition and ignores it, as some S3 servers do."""

    def create(self, key: str, data: bytes) -> None:
        self._objects[key] = data


def test_a_store_that_overwrites_is_refused():
    store = Overwriting()
    for _ in range(2):  # Also where the probe of an earlier start lies there.
        with pytest.raises(Refused, match="overwrites"):
            require_conditional_create(store)


def test_whoever_may_only_read_is_let_in():
    require_conditional_create(Unwritable())


class Closed(Unwritable):
    """Refuses reading as well."""

    def get(self, key: str) -> bytes:
        raise StoreError(f"{key} refused")


def test_whoever_may_not_even_read_is_told_at_once():
    with pytest.raises(StoreError, match="refused"):
        require_conditional_create(Closed())
    with pytest.raises(NotFound):
        Unwritable().get(PROBE)
