"""What is withdrawn stays, and its recipe gets a new key."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.artifacts import layout
from registry.artifacts.fetch import find_manifest
from registry.artifacts.key import Recipe
from registry.artifacts.retract import (
    Retraction,
    find_recipe,
    is_retracted,
    read_epochs,
    retract,
)
from registry.artifacts.store import Store
from registry.artifacts.store.local import LocalStore
from registry.artifacts.store.memory import MemoryStore
from registry.errors import NotFound, PenstockError, Refused, UsageError
from tests.races import race_threads
from tests.registry.makers import a_recipe, an_attempt, commit_one


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def withdraw(store: Store, key: str) -> Retraction:
    return retract(store, key, who="me", why="a wrong label")


def test_a_retraction_leads_to_a_new_key_and_keeps_the_old_artifact(store: LocalStore):
    done = commit_one(store)
    assert read_epochs(store) == {}
    record = withdraw(store, done.manifest.key)
    epochs = read_epochs(store)
    assert (record.epoch, record.who, record.why) == (1, "me", "a wrong label")
    assert epochs == {a_recipe().key: 1}
    assert is_retracted(a_recipe(), epochs)
    anew = a_recipe().at_epoch(epochs[a_recipe().base_key])
    assert not is_retracted(anew, epochs)
    assert find_manifest(store, anew) is None
    assert find_manifest(store, a_recipe()) == done.manifest


def test_the_artifact_made_anew_can_be_withdrawn_as_well(store: LocalStore):
    withdraw(store, commit_one(store).manifest.key)
    second = withdraw(store, commit_one(store, a_recipe(epoch=1)).manifest.key)
    assert (second.epoch, second.base_key) == (2, a_recipe().key)
    assert read_epochs(store) == {a_recipe().key: 2}


def test_a_second_retraction_of_the_same_artifact_is_refused(store: LocalStore):
    key = commit_one(store).manifest.key
    withdraw(store, key)
    with pytest.raises(Refused, match="retracted before"):
        withdraw(store, key)
    withdraw(store, commit_one(store, a_recipe(epoch=1)).manifest.key)
    with pytest.raises(Refused, match="retracted before"):
        withdraw(store, key)
    assert read_epochs(store) == {a_recipe().key: 2}


def test_of_two_who_withdraw_at_once_one_is_refused(store: LocalStore):
    key = commit_one(store).manifest.key

    def attempt(_: int) -> str:
        try:
            withdraw(store, key)
        except Refused:
            return "refused"
        return "done"

    assert sorted(race_threads(4, attempt)) == ["done", "refused", "refused", "refused"]
    assert read_epochs(store) == {key: 1}


def test_an_artifact_is_found_by_the_first_digits_of_its_key(store: LocalStore):
    commit_one(store)
    commit_one(store, a_recipe(name="trains"))
    key = a_recipe().key
    assert find_recipe(store, key[:16]).key == find_recipe(store, key[:40]).key == key


def test_a_typing_error_behind_the_first_digits_does_not_withdraw(store: LocalStore):
    key = commit_one(store).manifest.key
    wrong = key[:20] + ("0" if key[20] != "0" else "1")
    with pytest.raises(NotFound, match=wrong):
        withdraw(store, wrong)
    assert read_epochs(store) == {}


def test_what_cannot_be_withdrawn_is_said(store: LocalStore):
    key = commit_one(store).manifest.key
    with pytest.raises(NotFound, match="no artifact"):
        withdraw(store, "0" * 64)
    with pytest.raises(UsageError, match="too short"):
        withdraw(store, key[:15])
    with pytest.raises(UsageError, match="needs a reason"):
        retract(store, key, who="me", why=" \n")
    assert read_epochs(store) == {}


def damage(store: LocalStore, path: str, data: bytes = b"{}") -> None:
    place = store.local_path(path)
    assert place is not None
    place.chmod(0o644)
    place.write_bytes(data)


@pytest.mark.parametrize("recipe", [a_recipe(), a_recipe(epoch=1)], ids=["first", "made anew"])
def test_a_damaged_manifest_can_be_withdrawn_by_its_attempts(store: LocalStore, recipe: Recipe):
    done = commit_one(store, recipe)
    damage(store, done.path)
    assert withdraw(store, recipe.key).epoch == recipe.epoch + 1
    assert is_retracted(recipe, read_epochs(store))


def test_one_attempt_that_can_be_read_is_enough(store: LocalStore):
    done = commit_one(store)
    second = an_attempt(store, number=2)
    damage(store, done.path)
    damage(store, second.path)
    assert withdraw(store, done.manifest.key).epoch == 1


def test_a_recipe_that_is_lost_is_said(store: LocalStore):
    done = commit_one(store)
    damage(store, done.path)
    damage(store, layout.attempt_path(done.manifest.key, 1))
    with pytest.raises(PenstockError, match="lost"):
        withdraw(store, done.manifest.key)


def test_other_files_among_the_retractions_do_not_count():
    store = MemoryStore()
    base = a_recipe().key
    store.create(f"retractions/{base}/0001.json.bak", b"")
    store.create("retractions/notes.txt", b"")
    store.create(f"retractions/{base}/latest.json", b"")
    assert read_epochs(store) == {}
