"""The rules of blocking queries and of check-and-set, each against recorded answers.

A healthy agent breaks none of them when asked; what it can be made to do is in
`test_consul_agent.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from registry.aliases.heads import Head
from registry.aliases.heads.bucket import TokenBucket
from registry.aliases.heads.consul import BURST, ConsulHeads, next_index
from registry.artifacts.records import encode_record
from registry.consul import Denied, NoLeader
from registry.errors import BadData, Temporary
from tests.registry.consul.scripted import (
    NO_LEADER,
    Answer,
    Asked,
    absent,
    error,
    key,
    said,
    scripted,
)
from tests.registry.makers import a_reference

FOREVER = 60.0
BRIEF = 0.3
ABOUT = ("flights", "champion")


def head(revision: int, write_id: str = "w") -> Head:
    return Head(*ABOUT, revision, a_reference(revision), write_id, "me", "now")


def wait(consul: Any, revision: int, timeout: float = FOREVER) -> Head | None:
    return ConsulHeads(consul, "penstock/x").wait(*ABOUT, revision, timeout)


# watching -------------------------------------------------------------------------------------


def test_an_answer_is_not_a_change() -> None:
    """Spurious wake-ups: a higher index over the same content, and the other way round."""
    old, new = key(head(1), 10), key(head(2), 14)
    answers = (old, key(head(1), 12, modified=10), key(head(1), 13, modified=13), new)
    with scripted(*answers) as (consul, script):
        assert wait(consul, 1) == head(2)
    assert [asked.index for asked in script.asked] == [0, 10, 12, 13]


def test_an_index_that_went_back_starts_anew() -> None:
    answers = (key(head(1), 500), key(head(1), 20), key(head(1), 21), key(head(2), 22))
    with scripted(*answers) as (consul, script):
        assert wait(consul, 1) == head(2)
    assert [asked.index for asked in script.asked] == [0, 500, 0, 21]


@pytest.mark.parametrize("index", [0, None])
def test_an_index_of_zero_never_becomes_a_query_that_does_not_block(index: int | None) -> None:
    answers = (Answer(404, index), Answer(404, index), Answer(404, index), key(head(2), 3))
    with scripted(*answers) as (consul, script):
        assert wait(consul, 1) == head(2)
    assert [asked.index for asked in script.asked] == [0, 1, 0, 1]


def test_next_index() -> None:
    assert [next_index(*pair) for pair in ((0, 7), (7, 7), (7, 9), (7, 6), (7, 0), (0, 0))] == [
        7, 7, 9, 0, 0, 1,
    ]  # fmt: skip


def test_a_missing_key_is_blocked_on() -> None:
    with scripted(absent(40), absent(41), key(head(1), 42)) as (consul, script):
        assert wait(consul, 0) == head(1)
    assert [asked.index for asked in script.asked] == [0, 40, 41]


def test_a_key_that_was_deleted_changes_nothing() -> None:
    with scripted(key(head(5), 40), absent(41), key(head(5), 42), key(head(6), 43)) as (consul, _):
        assert wait(consul, 5) == head(6)


def test_a_head_that_cannot_be_read_is_named() -> None:
    with (
        scripted(key(head(5), 40), key(b"{", 41)) as (consul, _),
        pytest.raises(BadData, match="Delete the key"),
    ):
        wait(consul, 5)


def test_a_refusal_is_not_a_deleted_key() -> None:
    with (
        scripted(key(head(5), 40), error(403, "Permission denied")) as (consul, _),
        pytest.raises(Denied, match="key:read"),
    ):
        wait(consul, 5)


def test_an_agent_that_answers_at_once_is_asked_seldom() -> None:
    """Whatever it answers, the token bucket holds: a burst, then two a second."""
    number = iter(range(1, 100_000))
    with scripted(by=lambda _: absent(next(number))) as (consul, script):
        assert wait(consul, 0, timeout=1.0) is None
    assert BURST <= len(script.asked) <= BURST + 3


def test_aliases_have_buckets_of_their_own() -> None:
    with scripted(key(head(1), 1)) as (consul, _):
        heads = ConsulHeads(consul, "penstock/x")
        for _ in range(BURST):
            assert heads.wait(*ABOUT, 0, FOREVER) == head(1)
        assert heads.wait(*ABOUT, 0, 0.0) is None
        with pytest.raises(BadData, match="flights@champion"):
            heads.wait("flights", "candidate", 0, 0.0)


def test_a_bucket() -> None:
    now = 100.0
    bucket = TokenBucket(2, 0.5, lambda: now)
    assert [bucket.take(), bucket.take(), bucket.take()] == [0, 0, 2]
    now = 101.0
    assert bucket.take() == 1
    now = 102.0
    assert [bucket.take(), bucket.take()] == [0, 2]
    now = 1000.0
    assert [bucket.take(), bucket.take(), bucket.take()] == [0, 0, 2]


# no leader ------------------------------------------------------------------------------------


def without_leader(stale: Callable[[], Answer], *, elected: threading.Event) -> Any:
    """Answers of a server that waits for an election; after it, revision 9 of index 90."""

    def answer(asked: Asked) -> Answer:
        if asked.stale:
            return stale()
        return key(head(9), 90) if elected.is_set() else error(500, NO_LEADER)

    return answer


def test_without_a_leader_a_higher_revision_is_taken_from_a_stale_read() -> None:
    answers = without_leader(lambda: key(head(8), 80), elected=threading.Event())
    with scripted(by=answers) as (consul, script):
        assert wait(consul, 7) == head(8)
    assert [asked.stale for asked in script.asked] == [False, True]


@pytest.mark.parametrize("old", [absent(3), key(head(6), 60), key(head(7), 70)])
def test_a_stale_read_never_goes_below_what_is_known(old: Answer) -> None:
    elected = threading.Event()

    def stale() -> Answer:
        if len([asked for asked in script.asked if asked.stale]) == 3:
            elected.set()
        return old

    with scripted(by=without_leader(stale, elected=elected)) as (consul, script):
        assert wait(consul, 7) == head(9)
    # Asked again for a leader after each stale read, without an index from before.
    assert [asked.stale for asked in script.asked] == [False, True] * 3 + [False]
    assert {asked.index for asked in script.asked} == {0}


def test_the_end_of_waiting_is_kept_without_a_leader() -> None:
    answers = without_leader(lambda: absent(1), elected=threading.Event())
    with scripted(by=answers) as (consul, script):
        assert wait(consul, 7, timeout=BRIEF) is None
    assert len(script.asked) <= 6


def test_reading_without_a_leader_is_an_error() -> None:
    """What a service starts with, and what is moved, must not come from a server left behind."""
    answers = without_leader(lambda: key(head(8), 80), elected=threading.Event())
    with scripted(by=answers) as (consul, script):
        heads = ConsulHeads(consul, "penstock/x")
        with pytest.raises(NoLeader):
            heads.read(*ABOUT)
        with pytest.raises(NoLeader):
            heads.advance(head(9))
    assert not any(asked.stale for asked in script.asked)


# moving ---------------------------------------------------------------------------------------


class OneKey:
    """One key with check-and-set, whose writes meet the given faults in turn.

    "lost": written, the reply never comes. "before": not written, no reply. "late": as "before",
    but a rival's higher revision is there at the next look.
    """

    def __init__(self, *faults: str, value: Head | bytes | None = None) -> None:
        self.value = value
        self.index = 10 if value is not None else 0
        self.faults = list(faults)
        self.cas: list[int] = []

    def __call__(self, asked: Asked) -> Answer:
        if asked.method == "GET":
            return key(self.value, self.index) if self.value is not None else absent(5)
        cas = int(asked.query["cas"])
        self.cas.append(cas)
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "late":
            self.write(encode_record(head(50, "rival")))
        elif fault != "before" and cas == self.index:
            self.write(asked.body)
            return Answer(lost=True) if fault == "lost" else said(True)
        return Answer(lost=True) if fault else said(False)

    def write(self, data: bytes) -> None:
        self.value, self.index = data, self.index + 7


def advance(to: Head, one: OneKey) -> Head:
    with scripted(by=one) as (consul, _):
        return ConsulHeads(consul, "penstock/x").advance(to)


def test_the_first_head_is_created_and_the_next_compared() -> None:
    one = OneKey()
    advance(head(1), one)
    advance(head(2), one)
    assert one.cas == [0, 7]


@pytest.mark.parametrize("fault", ["lost", "before"])
@pytest.mark.parametrize("before", [None, head(1)])
def test_a_lost_reply_is_settled_by_the_write_id(before: Head | None, fault: str) -> None:
    one = OneKey(fault, value=before)
    assert advance(head(2, "mine"), one) == head(2, "mine")
    assert one.value == encode_record(head(2, "mine"))
    assert len(one.cas) == (1 if fault == "lost" else 2)


def test_a_rival_that_was_faster_stays() -> None:
    one = OneKey("late", value=head(1))
    assert advance(head(2, "mine"), one) == head(50, "rival")


def test_replies_that_are_lost_every_time_end_in_an_error() -> None:
    with pytest.raises(Temporary):
        advance(head(2), OneKey(*["before"] * 20))


def test_a_head_that_cannot_be_read_is_replaced_by_compare() -> None:
    one = OneKey(value=b"{")
    assert advance(head(2), one) == head(2)
    assert one.cas == [10]


def test_what_stands_high_enough_is_not_written() -> None:
    one = OneKey(value=head(5))
    assert advance(head(4), one) == head(5)
    assert advance(head(5, "other"), one) == head(5)
    assert one.cas == []
