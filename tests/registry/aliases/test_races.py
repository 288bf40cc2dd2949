"""Concurrent writers of one alias: a dense log, one verdict per candidate, a linear history."""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from registry.aliases import Aliases, Decision
from registry.aliases.decision import DecisionLog
from registry.aliases.drafts import before, live_after
from registry.aliases.heads.files import FileHeads
from registry.artifacts.store import Store, once, open_store
from registry.artifacts.store.local import LocalStore
from registry.errors import Refused
from tests.faults import FaultyStore, Schedule
from tests.races import PATIENCE, race_processes, race_threads
from tests.registry.makers import a_reference

ABOUT = ("flights", "champion")
CANDIDATES = 6


@dataclass(frozen=True)
class Done:
    """One operation as its caller saw it: when it began and ended, and what it returned.

    Times are of the monotonic clock, which the processes of a machine share. `revision` is the
    entry that answered, None for a refusal; `mine` tells whether the caller may have written it.
    """

    action: str
    number: int
    began: float
    ended: float
    revision: int | None
    live: str | None


def write(aliases: Aliases, random_: random.Random, count: int) -> list[Done]:
    """`count` random operations, as their caller saw them."""
    history = []
    for _ in range(count):
        number = random_.randint(1, CANDIDATES)
        action = random_.choice(["publish", "reject", "promote", "rollback", "read"])
        began = time.monotonic()
        try:
            entry = _act(aliases, action, number)
        except Refused:
            entry = None
        ended = time.monotonic()
        live = entry.live.key if entry and entry.live else None
        history.append(Done(action, number, began, ended, entry.revision if entry else None, live))
    return history


def _act(aliases: Aliases, action: str, number: int) -> Decision | None:
    if action == "promote":
        return aliases.promote(ABOUT, a_reference(number), who="w", why="x")
    if action == "rollback":
        return aliases.rollback(ABOUT, who="w", why="x")
    if action == "read":
        return aliases.current(*ABOUT)
    verdict = "publish" if action == "publish" else "reject"
    return aliases.settle(ABOUT, a_reference(number), verdict, who="w", why="x")  # type: ignore[arg-type]


def check_log(entries: list[Decision]) -> None:
    """Revisions are dense, each candidate has one verdict, each entry follows from those before."""
    assert [entry.revision for entry in entries] == list(range(1, len(entries) + 1))
    decided = [entry.candidate.key for entry in entries if entry.action in ("publish", "reject")]
    assert len(decided) == len(set(decided))
    for place, entry in enumerate(entries):
        so_far = entries[:place]
        if entry.action == "reject":
            assert entry.live == live_after(so_far)
        elif entry.action == "rollback":
            target = before(so_far)
            assert target is not None
            assert entry.live == target.live
        else:
            assert entry.live == entry.candidate
        if entry.action == "promote":
            assert entry.live != live_after(so_far)


def check_linear(history: list[Done], entries: list[Decision]) -> None:
    """The log is the order; real time must agree with it.

    An operation that began after another had ended must see at least what that one saw: a reader
    never goes back, and an entry that was acknowledged stands below every later one.
    """
    by_revision = {entry.revision: entry for entry in entries}
    seen = 0
    ends = sorted((done.ended, done.revision or 0) for done in history if _is_fresh(done))
    position = 0
    for done in sorted(history, key=lambda done: done.began):
        while position < len(ends) and ends[position][0] < done.began:
            seen = max(seen, ends[position][1])
            position += 1
        if done.revision is None:
            continue
        entry = by_revision[done.revision]
        assert done.live == (entry.live.key if entry.live else None)
        if _is_fresh(done):
            assert done.revision >= seen
    acknowledged = {done.revision for done in history if done.action in ("promote", "rollback")}
    assert acknowledged - {None} <= set(by_revision)


def _is_fresh(done: Done) -> bool:
    """Whether its answer is the newest entry; a verdict may be an old one."""
    return done.action not in ("publish", "reject")


def check(histories: list[list[Done]], store: Store, heads: FileHeads) -> None:
    history = list(itertools.chain(*histories))
    entries = DecisionLog(store).entries(*ABOUT)
    check_log(entries)
    check_linear(history, entries)
    head = heads.read(*ABOUT)
    assert head is not None
    assert head.revision == len(entries)
    assert len(history) > len(entries) > 5


def test_threads_write_one_history(tmp_path: Path):
    store, heads = LocalStore(tmp_path / "store"), FileHeads(tmp_path / "heads")

    def run(number: int) -> list[Done]:
        aliases = Aliases(DecisionLog(store), heads)
        return write(aliases, random.Random(f"threads:{number}"), 15)

    check(race_threads(4, run), store, heads)


def test_threads_write_one_history_whatever_gets_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(once, "_FIRST_DELAY", 0)
    store, heads = LocalStore(tmp_path / "store"), FileHeads(tmp_path / "heads")

    def run(number: int) -> list[Done]:
        faulty = FaultyStore(store, Schedule(rate=0.4, seed=number))
        aliases = Aliases(DecisionLog(faulty), heads)
        return write(aliases, random.Random(f"faults:{number}"), 15)

    check(race_threads(4, run), store, heads)


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_processes_write_one_history(kind: str, tmp_path: Path, request: pytest.FixtureRequest):
    url = request.getfixturevalue("s3_url") if kind == "s3" else str(tmp_path / "store")
    histories = race_processes(3, _write, url, str(tmp_path / "heads"))
    check(histories, open_store(url), FileHeads(tmp_path / "heads"))


def _write(number: int, barrier: Any, url: str, folder: str) -> list[Done]:
    aliases = Aliases(DecisionLog(open_store(url)), FileHeads(Path(folder)))
    barrier.wait(PATIENCE)
    return write(aliases, random.Random(f"processes:{number}"), 12)
