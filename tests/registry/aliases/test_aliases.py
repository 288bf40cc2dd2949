"""Publishing, promoting, rolling back; and heads that follow the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from registry.aliases import Aliases, open_aliases
from registry.aliases.decision import Decision, DecisionLog
from registry.aliases.heads import Head, Heads, head_of
from registry.aliases.heads.files import FileHeads
from registry.aliases.heads.memory import MemoryHeads
from registry.artifacts import layout
from registry.artifacts.store import once
from registry.artifacts.store.local import LocalStore
from registry.artifacts.store.memory import MemoryStore
from registry.errors import BadData, NotFound, Refused, StoreError, StoreUnwritable, Temporary
from registry.settings import Settings
from tests.faults import FAULTS, FaultyStore, Schedule
from tests.registry.makers import a_reference

ABOUT = ("flights", "champion")


@pytest.fixture(params=["files", "memory"])
def heads(request: pytest.FixtureRequest, tmp_path: Path) -> Heads:
    return FileHeads(tmp_path / "heads") if request.param == "files" else MemoryHeads()


@pytest.fixture
def aliases(heads: Heads) -> Aliases:
    return Aliases(DecisionLog(MemoryStore()), heads)


def publish(aliases: Aliases, number: int) -> Decision:
    return aliases.settle(ABOUT, a_reference(number), "publish", who="run", why="better")


def reject(aliases: Aliases, number: int, *reasons: str) -> Decision:
    return aliases.settle(
        ABOUT, a_reference(number), "reject", who="run", why="worse", reasons=reasons
    )


def promote(aliases: Aliases, number: int) -> Decision:
    return aliases.promote(ABOUT, a_reference(number), who="me", why="by hand")


def rollback(aliases: Aliases, to: int | None = None) -> Decision:
    return aliases.rollback(ABOUT, who="me", why="it misbehaves", to=to)


def live(aliases: Aliases) -> int:
    """The number of what is live, which log and head must agree about."""
    reference = aliases.live(*ABOUT)
    head = aliases.heads.read(*ABOUT)
    assert head is not None
    assert head.live == reference
    return int(reference.key, 16)


def test_a_publication_makes_the_candidate_live(aliases: Aliases):
    entry = publish(aliases, 1)
    assert (entry.revision, entry.action, entry.live) == (1, "publish", a_reference(1))
    assert live(aliases) == 1
    assert aliases.current(*ABOUT) == entry
    assert aliases.heads.read(*ABOUT) == head_of(entry)


def test_a_rejection_keeps_what_is_live_and_says_why(aliases: Aliases):
    publish(aliases, 1)
    entry = reject(aliases, 2, "auc 0.71 < 0.74")
    assert (entry.revision, entry.reasons) == (2, ["auc 0.71 < 0.74"])
    assert live(aliases) == 1


def test_a_rejection_before_anything_is_live_leaves_nothing_live(aliases: Aliases):
    reject(aliases, 1)
    with pytest.raises(NotFound, match="nothing is live at flights@champion"):
        aliases.live(*ABOUT)


def test_nothing_is_live_before_the_first_decision(aliases: Aliases):
    assert aliases.current(*ABOUT) is None
    with pytest.raises(NotFound, match="promote") as caught:
        aliases.live(*ABOUT)
    assert "Run the pipeline" in caught.value.todo


def test_a_candidate_is_decided_once(aliases: Aliases):
    first = publish(aliases, 1)
    assert publish(aliases, 1) == first
    assert reject(aliases, 1) == first
    assert aliases.log.entries(*ABOUT) == [first]
    assert aliases.verdict(*ABOUT, a_reference(1).key) == first
    assert aliases.verdict(*ABOUT, a_reference(2).key) is None


def test_a_scheduled_run_does_not_undo_a_rollback(aliases: Aliases):
    publish(aliases, 1)
    publish(aliases, 2)
    rollback(aliases)
    publish(aliases, 2)
    assert live(aliases) == 1


def test_a_person_may_promote_what_was_rejected(aliases: Aliases):
    publish(aliases, 1)
    verdict = reject(aliases, 2)
    assert promote(aliases, 2).action == "promote"
    assert live(aliases) == 2
    assert publish(aliases, 2) == verdict
    assert live(aliases) == 2


def test_promoting_what_is_live_is_refused(aliases: Aliases):
    publish(aliases, 1)
    with pytest.raises(Refused, match="live at flights@champion already"):
        promote(aliases, 1)
    assert len(aliases.log.entries(*ABOUT)) == 1


def test_going_back_twice_goes_further_back(aliases: Aliases):
    for number in (1, 2, 3):
        publish(aliases, number)
    first = rollback(aliases)
    assert (first.revision, first.restores, live(aliases)) == (4, 2, 2)
    second = rollback(aliases)
    assert (second.revision, second.restores, live(aliases)) == (5, 1, 1)
    with pytest.raises(Refused, match="nothing was live before"):
        rollback(aliases)


def test_a_rejection_in_between_does_not_lead_forth_again(aliases: Aliases):
    for number in (1, 2, 3):
        publish(aliases, number)
    rollback(aliases)
    reject(aliases, 4)
    assert live(aliases) == 2
    rollback(aliases)
    assert live(aliases) == 1


def test_a_late_verdict_about_what_is_live_does_not_lead_forth_again(aliases: Aliases):
    for number in (1, 2, 3):
        promote(aliases, number)
    rollback(aliases)
    publish(aliases, 2)
    rollback(aliases)
    assert live(aliases) == 1


def test_going_back_skips_what_was_rolled_back_before(aliases: Aliases):
    publish(aliases, 1)
    publish(aliases, 2)
    rollback(aliases)
    publish(aliases, 3)
    rollback(aliases)
    assert live(aliases) == 1
    with pytest.raises(Refused):
        rollback(aliases)


def test_going_back_to_a_revision(aliases: Aliases):
    for number in (1, 2, 3):
        publish(aliases, number)
    reject(aliases, 4)
    assert rollback(aliases, to=1).restores == 1
    assert live(aliases) == 1
    assert rollback(aliases, to=4).restores == 3  # What the rejection left live stems from 3.
    assert live(aliases) == 3
    rollback(aliases)
    assert live(aliases) == 2
    with pytest.raises(Refused, match="nothing was live at 99"):
        rollback(aliases, to=99)


def test_going_back_where_nothing_was_live_is_refused(aliases: Aliases):
    with pytest.raises(Refused, match="cannot be rolled back"):
        rollback(aliases)
    publish(aliases, 1)
    with pytest.raises(Refused, match="history"):
        rollback(aliases)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_does_not_decide_twice(heads: Heads, fault: str, monkeypatch: Any):
    monkeypatch.setattr(once, "_FIRST_DELAY", 0)
    store = MemoryStore()
    for act in (lambda a: publish(a, 1), lambda a: promote(a, 2), rollback):
        act(Aliases(DecisionLog(FaultyStore(store, Schedule(fault))), heads))
    aliases = Aliases(DecisionLog(store), heads)
    actions = [entry.action for entry in aliases.log.entries(*ABOUT)]
    assert actions == ["publish", "promote", "rollback"]
    assert live(aliases) == 1


def test_a_head_behind_the_log_is_healed_by_reading(aliases: Aliases):
    publish(aliases, 1)
    entry = aliases.log.append(*ABOUT, lambda e: msgspec.structs.replace(e[-1], write_id="later"))
    assert entry is not None
    assert aliases.current(*ABOUT) == entry
    assert aliases.heads.read(*ABOUT) == head_of(entry)


def test_a_head_behind_the_log_is_healed_by_a_repeated_verdict(aliases: Aliases):
    first = publish(aliases, 1)
    fresh = Aliases(aliases.log, MemoryHeads())
    publish(fresh, 1)
    assert fresh.heads.read(*ABOUT) == head_of(first)


def test_after_a_lost_log_the_next_revision_is_above_the_head(heads: Heads):
    before = Aliases(DecisionLog(MemoryStore()), heads)
    for number in (1, 2, 3):
        publish(before, number)
    rebuilt = Aliases(DecisionLog(MemoryStore()), heads)
    assert rebuilt.current(*ABOUT) is None
    assert publish(rebuilt, 4).revision == 4
    assert live(rebuilt) == 4


def test_after_an_entry_was_moved_aside_the_next_revision_is_above_both(tmp_path: Path):
    store = LocalStore(tmp_path / "store")
    aliases = Aliases(DecisionLog(store), MemoryHeads())
    for number in (1, 2, 3):
        publish(aliases, number)
    place = store.local_path(layout.decision_path(*ABOUT, 3))
    assert place is not None
    place.chmod(0o644)
    place.write_bytes(b"not json")
    for act in (lambda: aliases.current(*ABOUT), lambda: publish(aliases, 4)):
        with pytest.raises(BadData, match=r"00000003\.json"):
            act()
    place.rename(place.with_name("aside"))
    assert aliases.current(*ABOUT) is not None
    assert promote(aliases, 1).revision == 4
    assert live(aliases) == 1


def test_a_damaged_head_does_not_stop_a_decision(tmp_path: Path):
    aliases = Aliases(DecisionLog(MemoryStore()), FileHeads(tmp_path))
    publish(aliases, 1)
    (tmp_path / "flights" / "champion.json").write_bytes(b"{")
    assert live(aliases) == 1
    (tmp_path / "flights" / "champion.json").write_bytes(b"{")
    assert publish(aliases, 2).revision == 2
    assert live(aliases) == 2


class Away(MemoryHeads):
    """Heads that cannot be moved: Consul is down, or the folder belongs to somebody else."""

    def __init__(self, error: Exception, *, readable: bool) -> None:
        super().__init__()
        self.error = error
        self.readable = readable

    def read(self, model: str, alias: str) -> Head | None:
        if not self.readable:
            raise self.error
        return super().read(model, alias)

    def advance(self, head: Head) -> Head:
        raise self.error


@pytest.mark.parametrize("error", [StoreUnwritable("no right"), Temporary("no answer")])
def test_reading_what_is_live_does_not_depend_on_moving_the_head(error: Exception):
    log = DecisionLog(MemoryStore())
    publish(Aliases(log, MemoryHeads()), 1)
    with structlog.testing.capture_logs() as lines:
        assert Aliases(log, Away(error, readable=False)).live(*ABOUT) == a_reference(1)
    assert [line["log_level"] for line in lines] == ["warning"]


def test_no_decision_is_made_while_the_head_cannot_be_read():
    aliases = Aliases(DecisionLog(MemoryStore()), Away(Temporary("no answer"), readable=False))
    with pytest.raises(Temporary):
        publish(aliases, 1)
    assert aliases.log.entries(*ABOUT) == []


def test_a_head_that_cannot_be_moved_is_told_after_the_decision():
    log = DecisionLog(MemoryStore())
    aliases = Aliases(log, Away(StoreUnwritable("no right"), readable=True))
    with pytest.raises(StoreError, match="no right"):
        publish(aliases, 1)
    assert [entry.action for entry in log.entries(*ABOUT)] == ["publish"]


def test_aliases_of_an_environment_are_opened_from_settings(tmp_path: Path):
    settings = Settings.load({"PENSTOCK_VAR": str(tmp_path), "PENSTOCK_STORE": str(tmp_path / "s")})
    store = MemoryStore()
    publish(open_aliases(settings, store), 1)
    assert live(open_aliases(settings, store)) == 1
