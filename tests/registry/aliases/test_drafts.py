"""What the next entry of a log would be, from those so far."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.aliases.decision import Action, Decision
from registry.aliases.drafts import at_revision, before, draft, live_after, verdict
from registry.errors import UsageError
from tests.registry.makers import a_reference

ABOUT = ("flights", "champion")


def log(*moves: tuple[Action, int]) -> list[Decision]:
    """Entries that publish, promote or reject artifacts by their numbers; no rollbacks."""
    entries: list[Decision] = []
    for action, number in moves:
        live = live_after(entries) if action == "reject" else a_reference(number)
        entry = draft(ABOUT, action, a_reference(number), live, who="me", why="x")
        entries.append(msgspec.structs.replace(entry, revision=len(entries) + 1))
    return entries


def test_a_draft_is_a_decision_without_a_revision():
    entry = draft(ABOUT, "publish", a_reference(), a_reference(), who="me", why=" better \n")
    assert (entry.revision, entry.why, entry.reasons) == (0, "better", [])
    assert dt.datetime.fromisoformat(entry.when).utcoffset() == dt.timedelta(0)
    other = draft(ABOUT, "publish", a_reference(), a_reference(), who="me", why="better")
    assert entry.write_id != other.write_id


def test_a_decision_needs_a_reason():
    with pytest.raises(UsageError, match="--why"):
        draft(ABOUT, "publish", a_reference(), a_reference(), who="me", why=" ")


def test_nothing_is_live_before_the_first_entry_and_after_a_rejection():
    assert live_after([]) is None
    assert before([]) is None
    assert live_after(log(("reject", 1))) is None
    assert before(log(("reject", 1))) is None


def test_a_verdict_is_the_first_publication_or_rejection():
    entries = log(("reject", 1), ("promote", 1), ("publish", 2), ("promote", 3))
    found = [verdict(entries, a_reference(number).key) for number in (1, 2, 3, 4)]
    assert [entry and entry.revision for entry in found] == [1, 3, None, None]


def test_an_entry_is_found_by_its_revision():
    entries = log(("publish", 1), ("publish", 2))
    assert at_revision(entries, 2) == entries[1]
    assert at_revision(entries, 3) is None


@given(st.lists(st.tuples(st.sampled_from(["publish", "reject", "promote"]), st.integers(1, 4))))
def test_what_was_live_before_differs_and_was_live_last(moves: Any):
    entries = log(*moves)
    lives = [entry.live for entry in entries]
    found = before(entries)
    if found is None:
        assert len({live and live.key for live in lives} - {None}) <= 1
        return
    assert found.live != lives[-1]
    later = [entry.live for entry in entries if entry.revision > found.revision]
    assert set(later) == {lives[-1]}
