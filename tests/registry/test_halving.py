"""Who goes on to the next rung of a search."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from registry.halving import members_of_last, role, score, sizes, survivors

SCORES = st.lists(
    st.one_of(st.floats(0, 3), st.sampled_from([0.5, 0.6]), st.just(math.inf), st.just(math.nan)),
    min_size=1,
    max_size=80,
)


def _place(value: float, number: int) -> tuple[float, int]:
    return (math.inf if math.isnan(value) else value, number)


@given(SCORES, st.integers(2, 5), st.data())
def test_survivors_are_exactly_the_best_share(scores, eta, data):
    """Of the members that stay, each is better than each that goes, or equal and of lower number."""
    numbers = data.draw(
        st.lists(st.integers(0, 500), min_size=len(scores), max_size=len(scores), unique=True)
    )
    found = survivors(numbers, scores, eta)
    assert found == sorted(found)
    assert len(found) == max(1, len(scores) // eta)
    place = {n: _place(value, n) for n, value in zip(numbers, scores, strict=True)}
    gone = set(numbers) - set(found)
    assert all(place[stays] < place[goes] for stays in found for goes in gone)


@given(SCORES, st.randoms(use_true_random=False))
def test_the_order_of_members_decides_nothing(scores, draw):
    members = list(range(len(scores)))
    draw.shuffle(members)
    shuffled = survivors(members, [scores[member] for member in members], 3)
    assert shuffled == survivors(range(len(scores)), scores, 3)


def test_rungs_shrink_by_eta_to_one():
    assert sizes(64, 4, 4) == [64, 16, 4, 1]
    assert sizes(64, 3, 4) == [64, 21, 7, 2]
    assert sizes(2, 3, 3) == [2, 1, 1]


@given(st.integers(1, 500), st.integers(2, 6), st.integers(1, 6))
def test_sizes_are_those_of_survivors(trials, eta, rungs):
    members, found = list(range(trials)), []
    for _ in range(rungs):
        found.append(len(members))
        members = survivors(members, [0.0] * len(members), eta)
    assert found == sizes(trials, eta, rungs)


def test_days_count_by_their_rows():
    assert score([(0.5, 100), (0.8, 50)]) == 0.6
    assert score([(0.5, 100), (math.inf, 1)]) == score([(math.nan, 1)]) == score([]) == math.inf


def test_what_is_set_is_on_the_last_rung():
    assert members_of_last([3, 7]) == [0, 3, 7]
    assert members_of_last([0, 2]) == [0, 2]
    assert [role(rung) for rung in range(3)] == ["trials", "rung1", "rung2"]
