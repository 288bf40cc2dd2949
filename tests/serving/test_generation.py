"""States of a generation, the pointer on disk, the watcher, and waits between tries."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.aliases import Head
from registry.aliases.heads.memory import MemoryHeads
from registry.artifacts.manifest import Reference
from registry.errors import BadData
from serving.backoff import Backoff
from serving.errors import ServingError
from serving.generation import TRANSITIONS, Generation, State
from serving.pointer import Pointers
from serving.watcher import Watcher

REFERENCE = Reference("manifests/m.json", "k" * 64, "c" * 64, "v" * 64)


def head(revision: int, live: Reference | None = REFERENCE) -> Head:
    return Head("flights", "champion", revision, live, f"w{revision}", "tester", "now")


def generation() -> Generation:
    return Generation(1, head(1), REFERENCE)


@given(st.lists(st.sampled_from(State), max_size=15))
def test_only_steps_of_the_table_are_taken(steps: list[State]) -> None:
    made = generation()
    for state in steps:
        before = made.state
        if state in TRANSITIONS[before]:
            made.to(state)
            assert made.state is state
        else:
            with pytest.raises(ServingError):
                made.to(state)
            assert made.state is before


def test_every_state_has_a_row_and_an_end() -> None:
    assert TRANSITIONS.keys() == set(State)
    ends = {state for state, following in TRANSITIONS.items() if not following}
    assert ends == {State.RETIRED, State.REJECTED}


def test_what_served_is_never_rejected() -> None:
    made = generation()
    for state in (
        State.FETCHING, State.VERIFIED, State.LOADING, State.WARMING, State.VALIDATED, State.ACTIVE,
    ):  # fmt: skip
        made.to(state)
    made.reject("too late")
    assert made.state is State.ACTIVE
    assert made.announce().revision == 1


def test_pointer_round_trip(tmp_path: Path) -> None:
    pointers = Pointers(tmp_path / "deep" / "pointers")
    assert pointers.read("flights", "champion") is None
    pointers.save(head(1))
    pointers.save(head(2))
    assert pointers.read("flights", "champion") == head(2)
    assert [path.name for path in (tmp_path / "deep" / "pointers").iterdir()] == [
        "flights@champion.json"
    ]


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"model": 1}', b"[]"])
def test_damaged_pointer_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "flights@champion.json").write_bytes(data)
    assert Pointers(tmp_path).read("flights", "champion") is None


def test_pointer_of_another_alias_is_none(tmp_path: Path) -> None:
    Pointers(tmp_path).save(head(1))
    (tmp_path / "flights@champion.json").rename(tmp_path / "flights@challenger.json")
    assert Pointers(tmp_path).read("flights", "challenger") is None


class FailingHeads(MemoryHeads):
    """Cannot be read the first two times."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.recovered = threading.Event()

    def wait(self, model: str, alias: str, revision: int, timeout: float) -> Head | None:
        self.asked += 1
        if self.asked <= 2:
            raise BadData("damaged")
        self.recovered.set()
        return super().wait(model, alias, revision, min(timeout, 0.05))


def test_watcher_reports_each_head_and_outlives_trouble() -> None:
    async def watch() -> list[int]:
        seen: asyncio.Queue[Head] = asyncio.Queue()
        heads = FailingHeads()
        watcher = Watcher(heads, "flights", "champion", seen.put_nowait)
        watcher.start()
        await asyncio.to_thread(heads.recovered.wait, 60)
        revisions = []
        for revision in (1, 2):
            heads.advance(head(revision))
            revisions.append((await asyncio.wait_for(seen.get(), 60)).revision)
        watcher.stop()
        return revisions

    assert asyncio.run(watch()) == [1, 2]


def test_watcher_does_not_report_what_is_known() -> None:
    async def watch() -> int:
        seen: asyncio.Queue[Head] = asyncio.Queue()
        heads = MemoryHeads()
        heads.advance(head(7))
        watcher = Watcher(heads, "flights", "champion", seen.put_nowait)
        watcher.start(7)
        heads.advance(head(8))
        first = await asyncio.wait_for(seen.get(), 60)
        watcher.stop()
        return first.revision

    assert asyncio.run(watch()) == 8


def test_backoff_doubles_up_to_its_bound_and_begins_again() -> None:
    backoff = Backoff(first=1.0, most=8.0)
    waits = [backoff.next() for _ in range(6)]
    for wait, bound in zip(waits, [1, 2, 4, 8, 8, 8], strict=True):
        assert bound / 2 <= wait <= bound
    backoff.reset()
    assert backoff.next() <= 1.0
