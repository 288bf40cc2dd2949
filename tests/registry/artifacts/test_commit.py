"""The first manifest wins, nothing is lost, and nothing is committed by halves."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from registry.artifacts import layout
from registry.artifacts.commit import Committed, Output, commit, new_writer
from registry.artifacts.fetch import fetch, find_manifest
from registry.artifacts.manifest import decode
from registry.artifacts.store import Store, once
from registry.artifacts.store.local import LocalStore
from registry.artifacts.store.memory import MemoryStore
from registry.errors import BadData, Corrupt, StoreError, Temporary
from tests.faults import FAULTS, FaultyStore, Schedule
from tests.races import PATIENCE, race_processes, race_threads
from tests.registry.makers import (
    FILES,
    a_producer,
    a_recipe,
    a_reference,
    an_attempt,
    an_output,
    commit_one,
)


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return LocalStore(tmp_path / "store") if request.param == "local" else MemoryStore()


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(once, "_FIRST_DELAY", 0)


def test_a_commit_leaves_the_files_and_the_manifest_that_names_them(store: Store, tmp_path: Path):
    attempt = an_attempt(store)
    output = an_output(tmp_path / "out", metrics={"auc": 0.75}, rows=3)
    done = commit(store, attempt, output, a_producer(attempt))
    assert done.mine
    assert done.path == layout.manifest_path(a_recipe())
    assert find_manifest(store, a_recipe()) == done.manifest
    assert [file.path for file in done.manifest.files] == sorted(FILES)
    assert {f.path: store.get(done.manifest.data + f.path) for f in done.manifest.files} == FILES
    assert (done.manifest.metrics, done.manifest.rows, done.manifest.seed) == ({"auc": 0.75}, 3, 7)
    assert done.reference.key == attempt.key


def test_nothing_is_there_before_the_commit(store: Store):
    an_attempt(store)
    assert find_manifest(store, a_recipe()) is None


def test_the_loser_succeeds_with_the_winners_artifact(store: Store):
    first = commit_one(store, files={"model.txt": b"first"})
    second = commit_one(store, files={"model.txt": b"second"})
    assert (first.mine, second.mine) == (True, False)
    assert second.manifest == first.manifest
    data = [path for path in store.list("data/") if path.endswith("model.txt")]
    assert len(data) == 2  # The loser deletes nothing; its files wait for collection.


def test_racing_threads_agree_on_one_artifact(store: Store, tmp_path: Path):
    attempt = an_attempt(store)

    def write(number: int) -> Committed:
        output = an_output(tmp_path / str(number), {"model.txt": b"%d" % number})
        return commit(store, attempt, output, a_producer(attempt))

    done = race_threads(6, write)
    assert [one.mine for one in done].count(True) == 1
    assert len({one.manifest.version for one in done}) == 1
    assert len(list(store.list("manifests/"))) == 1


def test_racing_processes_agree_on_one_artifact(tmp_path: Path):
    versions = race_processes(4, _commit_ten, str(tmp_path))
    assert all(len({one[turn][0] for one in versions}) == 1 for turn in range(10))
    assert all([one[turn][1] for one in versions].count(True) == 1 for turn in range(10))


def _commit_ten(number: int, barrier: Any, folder: str) -> list[tuple[str, bool]]:
    store = LocalStore(Path(folder) / "store")
    found = []
    for turn in range(10):
        output = an_output(Path(folder) / f"{number}-{turn}", {"model.txt": b"%d" % number})
        attempt = an_attempt(store, a_recipe(name=f"flights{turn}"))
        barrier.wait(PATIENCE)
        done = commit(store, attempt, output, a_producer(attempt))
        found.append((done.manifest.version, done.mine))
    return found


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("write", range(4))
def test_a_fault_at_any_write_changes_nothing(store: Store, tmp_path: Path, fault: str, write: int):
    """The writes are the attempt, two files and the manifest."""
    schedule = Schedule(*[None] * write, fault)
    faulty = FaultyStore(store, schedule)
    attempt = an_attempt(faulty)
    done = commit(faulty, attempt, an_output(tmp_path / "out"), a_producer(attempt))
    assert schedule.done[fault] == 1
    assert done.mine
    assert find_manifest(store, a_recipe()) == done.manifest
    fetch(store, done.reference, tmp_path / "cache")
    assert len(list(store.list(""))) == 4


@pytest.mark.usefixtures("no_pauses")
def test_faults_at_every_second_write_change_nothing(store: Store, tmp_path: Path):
    for turn in range(20):
        schedule = Schedule(rate=0.5, seed=turn, burst=2)
        faulty = FaultyStore(store, schedule)
        recipe = a_recipe(name=f"flights{turn}")
        attempt = an_attempt(faulty, recipe)
        output = an_output(tmp_path / str(turn))
        done = commit(faulty, attempt, output, a_producer(attempt))
        assert done.mine
        fetch(store, done.reference, tmp_path / "cache")


@pytest.mark.usefixtures("no_pauses")
def test_a_store_that_stays_away_is_an_error_and_nothing_is_committed(store: Store, tmp_path: Path):
    attempt = an_attempt(store)
    faulty = FaultyStore(store, Schedule(None, None, *["before"] * 4))
    with pytest.raises(StoreError, match="injected"):
        commit(faulty, attempt, an_output(tmp_path / "out"), a_producer(attempt))
    assert find_manifest(store, a_recipe()) is None


def test_a_deadline_that_passed_forbids_the_commit(store: Store, tmp_path: Path):
    attempt = an_attempt(store, timeout=60)
    output = an_output(tmp_path / "out")
    with pytest.raises(Temporary, match="12 s ago"):
        commit(store, attempt, output, a_producer(attempt), lambda: attempt.deadline + 12)
    assert find_manifest(store, a_recipe()) is None
    assert commit(store, attempt, output, a_producer(attempt), lambda: attempt.deadline).mine


def test_an_empty_output_is_refused(store: Store, tmp_path: Path):
    attempt = an_attempt(store)
    (tmp_path / "out" / "empty").mkdir(parents=True)
    with pytest.raises(BadData, match="wrote no file"):
        commit(store, attempt, Output(tmp_path / "out"), a_producer(attempt))
    assert list(store.list("data/")) == []


@pytest.mark.parametrize("kind", ["link", "dangling", "folder link", "pipe", "socket", "name"])
def test_an_output_of_other_than_plain_files_is_refused(store: Store, tmp_path: Path, kind: str):
    output = an_output(tmp_path / "out")
    odd = output.folder / "odd"
    with socket.socket(socket.AF_UNIX) as listener:
        if kind == "link":
            odd.symlink_to(output.folder / "model.txt")
        elif kind == "dangling":
            odd.symlink_to("/nowhere")
        elif kind == "folder link":
            odd.symlink_to("/etc")
        elif kind == "pipe":
            os.mkfifo(odd)
        elif kind == "socket":
            descriptor = os.open(output.folder, os.O_RDONLY)
            listener.bind(f"/proc/self/fd/{descriptor}/odd")
            os.close(descriptor)
        else:
            os.mknod(os.fsencode(output.folder) + b"/odd\xff\n", 0o644)
        attempt = an_attempt(store)
        with pytest.raises(BadData, match=r"odd.*is not a plain file"):
            commit(store, attempt, output, a_producer(attempt))
    assert list(store.list("data/")) == []


class Flipping(MemoryStore):
    """Stores one file with a flipped bit: what verification after writing is for."""

    def create(self, key: str, data: bytes) -> None:
        damaged = key.endswith("model.txt")
        super().create(key, bytes([data[0] ^ 1]) + data[1:] if damaged else data)


def test_a_file_that_arrived_damaged_is_not_committed(tmp_path: Path):
    store = Flipping()
    attempt = an_attempt(store)
    with pytest.raises(Corrupt, match=r"model\.txt is damaged"):
        commit(store, attempt, an_output(tmp_path / "out"), a_producer(attempt))
    assert find_manifest(store, a_recipe()) is None


def test_a_damaged_manifest_in_the_way_is_named(store: Store):
    store.create(layout.manifest_path(a_recipe()), b"{}")
    with pytest.raises(BadData, match=layout.manifest_path(a_recipe())):
        commit_one(store)


def test_measures_that_json_cannot_spell_do_not_stop_a_commit(store: Store):
    done = commit_one(store, metrics={"auc": float("nan")}, timings={"load": float("inf")})
    assert (done.manifest.metrics, done.manifest.timings) == ({}, {})


def test_a_manifest_names_its_inputs(store: Store, tmp_path: Path):
    references = {"features": [a_reference(1), a_reference(2)], "model": a_reference(3)}
    recipe = a_recipe(
        inputs={"features": (a_reference(1).key, a_reference(2).key), "model": a_reference(3).key}
    )
    attempt = an_attempt(store, recipe, references=references)
    done = commit(store, attempt, an_output(tmp_path / "out"), a_producer(attempt))
    assert done.manifest.references == [a_reference(1), a_reference(2), a_reference(3)]
    assert done.manifest.inputs["features"] == [a_reference(1).key, a_reference(2).key]
    assert decode(store.get(done.path), done.path, recipe.key) == done.manifest


def test_each_execution_of_an_attempt_writes_to_its_own_place(store: Store):
    attempt = an_attempt(store, number=3)
    names = {new_writer(attempt) for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith("0003-") for name in names)
