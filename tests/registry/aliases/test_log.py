"""The decision log: dense, strict, and never in doubt about what an entry is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from registry.aliases.decision import Decision, DecisionLog, parse_alias
from registry.aliases.drafts import draft
from registry.artifacts import layout
from registry.artifacts.store import Store
from registry.artifacts.store.local import LocalStore
from registry.artifacts.store.memory import MemoryStore
from registry.errors import BadData, UsageError
from tests.registry.makers import a_reference

ABOUT = ("flights", "champion")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def publish(number: int) -> Any:
    def decide(_: Sequence[Decision]) -> Decision:
        return draft(ABOUT, "publish", a_reference(number), a_reference(number), who="m", why="x")

    return decide


def path(revision: int) -> str:
    return layout.decision_path(*ABOUT, revision)


def place(store: LocalStore, revision: int) -> Path:
    found = store.local_path(path(revision))
    assert found is not None
    found.chmod(0o644)
    return found


def test_entries_are_numbered_from_one_without_gaps(store: LocalStore):
    log = DecisionLog(store)
    assert (log.entries(*ABOUT), log.newest(*ABOUT), log.names()) == ([], None, [])
    made = [log.append(*ABOUT, publish(number)) for number in range(1, 4)]
    assert [entry and entry.revision for entry in made] == [1, 2, 3]
    assert log.entries(*ABOUT) == made
    assert log.newest(*ABOUT) == made[-1]
    assert log.names() == [ABOUT]


def test_nothing_is_appended_where_nothing_is_decided(store: LocalStore):
    log = DecisionLog(store)
    assert log.append(*ABOUT, lambda _: None) is None
    assert list(store.list("")) == []


def test_a_revision_above_what_was_shown_elsewhere(store: LocalStore):
    log = DecisionLog(store)
    log.append(*ABOUT, publish(1))
    appended = log.append(*ABOUT, publish(2), above=9)
    assert appended is not None
    assert appended.revision == 10
    assert [entry.revision for entry in log.entries(*ABOUT)] == [1, 10]


@pytest.mark.parametrize("damage", [b"", b"not json", b"{}", b"\xff", b"[" * 100_000])
def test_an_entry_that_is_no_decision_is_named_with_the_way_out(store: LocalStore, damage: bytes):
    log = DecisionLog(store)
    for number in (1, 2):
        log.append(*ABOUT, publish(number))
    place(store, 2).write_bytes(damage)
    for act in (
        lambda: log.entries(*ABOUT),
        lambda: log.newest(*ABOUT),
        lambda: log.append(*ABOUT, publish(3)),
    ):
        with pytest.raises(BadData, match=path(2)) as caught:
            act()
        assert "backup" in caught.value.todo
        assert "move it aside" in caught.value.todo
    assert not list(store.list(path(3)))


def test_an_entry_moved_aside_in_its_own_folder_no_longer_counts(store: LocalStore):
    log = DecisionLog(store)
    first = log.append(*ABOUT, publish(1))
    log.append(*ABOUT, publish(2))
    place(store, 2).rename(place(store, 2).with_suffix(".json.aside"))
    assert log.entries(*ABOUT) == [first]
    assert log.newest(*ABOUT) == first
    assert log.names() == [ABOUT]


def test_an_entry_in_the_middle_moved_aside_leaves_a_gap(store: LocalStore):
    log = DecisionLog(store)
    for number in range(1, 4):
        log.append(*ABOUT, publish(number))
    place(store, 2).unlink()
    appended = log.append(*ABOUT, publish(4))
    assert appended is not None
    assert [entry.revision for entry in log.entries(*ABOUT)] == [1, 3, 4]


def test_a_copy_under_another_number_is_an_error_and_no_endless_loop(store: LocalStore):
    log = DecisionLog(store)
    log.append(*ABOUT, publish(1))
    log.append(*ABOUT, publish(2))
    store.create(path(3), store.get(path(2)))
    with pytest.raises(BadData, match="not the decision of its name") as caught:
        log.append(*ABOUT, publish(3))
    assert "flights@champion" in str(caught.value)


def test_a_copy_under_another_alias_is_an_error(store: LocalStore):
    log = DecisionLog(store)
    log.append(*ABOUT, publish(1))
    store.create(layout.decision_path("flights", "candidate", 1), store.get(path(1)))
    with pytest.raises(BadData, match="flights@champion"):
        log.newest("flights", "candidate")


class Lagging(MemoryStore):
    """Lists once as a folder may while others append: the newest entry, not the one before."""

    hidden: tuple[str, ...] = ()

    def list(self, prefix: str) -> Iterator[str]:
        hidden, self.hidden = self.hidden, ()
        return (path for path in super().list(prefix) if path not in hidden)


def test_an_entry_that_a_listing_overlooked_is_not_decided_without():
    store = Lagging()
    log = DecisionLog(store)
    for number in range(1, 4):
        log.append(*ABOUT, publish(number))
    store.hidden = (path(2),)
    assert [entry.revision for entry in log.entries(*ABOUT)] == [1, 2, 3]


def test_other_files_do_not_count():
    store: Store = MemoryStore()
    log = DecisionLog(store)
    log.append(*ABOUT, publish(1))
    for name in ("notes.txt", "1.json", "00000002.json.bak", "00000002/x.json"):
        store.create(f"decisions/flights/champion/{name}", b"?")
    store.create("decisions/readme", b"?")
    assert [entry.revision for entry in log.entries(*ABOUT)] == [1]
    assert log.names() == [ABOUT]


@pytest.mark.parametrize(
    ("text", "alias"),
    [
        ("flights", ("flights", "champion")),
        ("flights@candidate", ("flights", "candidate")),
        ("f-1_x@c-2", ("f-1_x", "c-2")),
    ],
)
def test_an_alias_is_written_as_model_at_alias(text: str, alias: tuple[str, str]):
    assert parse_alias(text) == alias


@pytest.mark.parametrize(
    "text", ["", "@", "flights@", "@champion", "a@b@c", "../x", "a/b", "A", "a\n", "1a", "a" * 64]
)
def test_a_name_that_cannot_be_used_is_refused(text: str):
    with pytest.raises(UsageError, match="is not the name"):
        parse_alias(text)
