"""Views of everything: one listing, damage told and passed over, retraction passed on."""

from __future__ import annotations

import pytest

from registry.artifacts.attempt import AttemptEnd, close_attempt
from registry.artifacts.catalog import RETRACTED, TAINTED, Catalog, title
from registry.artifacts.journal import Journal
from registry.artifacts.layout import lineage_path
from registry.artifacts.retract import retract
from registry.artifacts.store.memory import MemoryStore
from registry.errors import NotFound
from tests.registry.makers import a_recipe, an_attempt, commit_one


class Counting(MemoryStore):
    """A store that counts what is read from it."""

    def __init__(self):
        super().__init__()
        self.read: list[str] = []
        self.listed: list[str] = []

    def get(self, key):
        self.read.append(key)
        return super().get(key)

    def list(self, prefix):
        self.listed.append(prefix)
        return super().list(prefix)


@pytest.fixture
def store():
    return Counting()


def test_everything_comes_from_one_listing_and_is_read_once(store):
    made = {commit_one(store, a_recipe(date=f"2013-06-{day:02}")).path for day in range(1, 6)}
    store.read.clear()
    catalog = Catalog(store)
    assert set(catalog.everything()) == set(catalog.everything()) == made
    assert sorted(store.read) == sorted(made)
    assert store.listed == ["manifests/"]


def test_a_damaged_manifest_is_told_and_passed_over(store):
    good = commit_one(store)
    store.create("manifests/model/flights/--0123456789abcdef.json", b"{}")
    catalog = Catalog(store)
    assert list(catalog.everything()) == [good.path]
    assert catalog.damaged == ["manifests/model/flights/--0123456789abcdef.json"]


def test_an_artifact_is_found_by_the_digits_of_its_key(store):
    made = commit_one(store)
    catalog = Catalog(store)
    key = made.manifest.key
    assert catalog.find(key) == catalog.find(key[:16]) == made.path
    other = "0" if key[20] != "0" else "1"
    for absent in ("0" * 16, key[:20] + other):
        with pytest.raises(NotFound):
            catalog.find(absent)


def test_what_was_made_from_something_retracted_is_marked(store):
    below = commit_one(store)
    above = commit_one(store, a_recipe(family="evaluation", inputs={"model": below.manifest.key}))
    # `commit_one` records no references, so the use is read from a manifest made with one.
    retract(store, below.manifest.key, who="tester", why="wrong")
    catalog = Catalog(store)
    assert catalog.state(below.path) == RETRACTED
    assert catalog.state(above.path) == ""


def test_a_title_names_the_algorithm():
    assert title(a_recipe()) == "model flights 2013-06-30"
    assert title(a_recipe(parameters={"algorithm": "lightgbm"}), "train") == (
        "train flights 2013-06-30 lightgbm"
    )
    assert TAINTED != RETRACTED


def end(kind):
    return AttemptEnd(kind, "", 0, {"wall_s": 1.0}, 2.0)


def test_a_journal_reads_again_only_what_is_new(store):
    first = an_attempt(store)
    journal = Journal(store)
    journal.refresh()
    assert [(tried.attempt, tried.end) for tried in journal.tries()] == [(first, None)]
    close_attempt(store, first, end("oom"), b"log")
    second = an_attempt(store, number=2)
    store.read.clear()
    journal.refresh()
    assert sorted(store.read) == [
        f"attempts/{first.key}/0001.end.json",
        f"attempts/{first.key}/0002.json",
    ]
    failed, opened = journal.tries()
    assert (failed.failed, failed.has_log, opened.attempt, opened.failed) == (
        True, True, second, False,
    )  # fmt: skip


def test_a_journal_of_a_run_keeps_its_attempts_and_those_at_given_keys(store):
    mine = an_attempt(store, run="20130630T021500-3f9a1c")
    waited_for = an_attempt(store, a_recipe(date="2013-07-01"), run="another")
    an_attempt(store, a_recipe(date="2013-07-02"), run="another")
    journal = Journal(store, "20130630T021500-3f9a1c", [waited_for.key])
    journal.refresh()
    assert {tried.attempt.key for tried in journal.tries()} == {mine.key, waited_for.key}


def test_a_damaged_attempt_is_passed_over(store):
    attempt = an_attempt(store)
    store.create(f"attempts/{attempt.key}/0002.json", b"[]")
    store.create(f"attempts/{attempt.key}/0001.end.json", b"[]")
    journal = Journal(store)
    journal.refresh(attempt.key)
    (tried,) = journal.tries()
    assert (tried.attempt, tried.end) == (attempt, None)


def test_what_a_release_left_a_copy_of_is_found(store):
    made = commit_one(store)
    elsewhere = MemoryStore("another environment")
    elsewhere.create(lineage_path(made.path), store.get(made.path))
    catalog = Catalog(elsewhere)
    assert catalog.at(made.path) == made.manifest
    assert catalog.at("manifests/model/flights/--0123456789abcdef.json") is None
