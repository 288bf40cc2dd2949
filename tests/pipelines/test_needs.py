"""First sizes by what earlier jobs needed, and what better ones would have saved."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from pipelines.cost import Prices
from pipelines.needs import (
    ALIKE,
    BELIEVED,
    HEADROOM,
    History,
    Need,
    is_alike,
    nearest,
    scaled,
    suggested,
)
from pipelines.runners.sizes import LADDER, SIZES, next_size
from pipelines.saving import Spent, saving_of

PEAKS = st.floats(1, 60_000)
BYTES = st.one_of(st.none(), st.floats(1e3, 1e12))
NEEDS = st.builds(Need, PEAKS, BYTES, st.one_of(st.none(), st.sampled_from(LADDER)))
LISTS = st.lists(NEEDS, min_size=1, max_size=12)
SPENT = st.builds(Spent, st.sampled_from(LADDER), PEAKS, st.floats(0, 1e5), st.booleans())


def memory(size: str | None) -> int:
    assert size is not None
    return SIZES[size].memory_mb


@given(LISTS, BYTES, st.data())
def test_a_larger_recorded_peak_never_gives_a_smaller_size(needs, read, data):
    place = data.draw(st.integers(0, len(needs) - 1))
    more = data.draw(st.floats(1, 10))
    before = needs[place]
    grown = [*needs]
    grown[place] = Need(before.peak_mb * more, before.input_bytes, before.least)
    one, other = History(needs).suggested(read), History(grown).suggested(read)
    assert (one is None) == (other is None)
    if one is not None:
        assert memory(other) >= memory(one)


@given(LISTS, BYTES)
def test_no_suggestion_is_below_a_recorded_peak_of_alike_input(needs, read):
    alike = [need for need in needs if is_alike(need, read)][:BELIEVED]
    size = History(needs).suggested(read)
    for need in alike:
        assert memory(size) >= min(HEADROOM * need.peak_mb, memory(LADDER[-1]))
        assert memory(size) >= memory(need.least or LADDER[0])


@given(LISTS, st.floats(1e3, 1e12), st.floats(1, 100))
def test_a_larger_input_than_any_never_gives_a_smaller_size(needs, read, more):
    """Beyond what was seen peaks grow; among what was seen the record decides."""
    seen = [need for need in needs if need.input_bytes]
    if len(seen) == len(needs) and all(read > ALIKE * (need.input_bytes or 0) for need in seen):
        small, large = (History(needs).suggested(size) for size in (read, read * more))
        assert memory(large) >= memory(small)


def test_the_newest_alike_are_believed_and_no_more_is_read():
    read = []

    def needs() -> Iterator[Need]:
        for number, (peak, size) in enumerate([(900.0, 10.0), (100.0, 1e6)] * 20):
            read.append(number)
            yield Need(peak, size)

    history = History(needs())
    assert history.suggested(1.5e6) == "s"
    assert len(read) == 2 * BELIEVED
    assert history.suggested(15.0) == "m"
    assert len(read) == 2 * BELIEVED


def test_twice_and_half_are_alike_and_unknown_is_too():
    need = Need(1.0, 100.0)
    assert [is_alike(need, size) for size in (49, 50, 200, 201)] == [False, True, True, False]
    assert is_alike(Need(1.0), 5.0)
    assert is_alike(need, None)


def test_without_alike_input_the_nearest_grows_and_never_shrinks():
    needs = [Need(100.0, 1e6), Need(600.0, 1e8)]
    assert nearest(needs, 1e9) is needs[1]
    assert scaled(needs[1], 1e9).peak_mb == 6000.0
    assert scaled(needs[0], 1e3).peak_mb == 100.0
    assert History(needs).suggested(1e9) == "l"
    assert History(needs).suggested(1e3) == "s"
    assert History([]).suggested(1e3) is None


def test_what_is_learnt_is_the_newest():
    history = History([Need(100.0, 1e6)] * 9)
    history.learn(Need(0.0, 1e6, "m"))
    assert history.suggested(1e6) == "m"
    assert history.suggested(1e9) == "xl"


@given(st.lists(SPENT, min_size=1, max_size=12))
def test_a_better_size_holds_every_peak_and_passes_what_was_too_small(spent):
    saving = saving_of("train", spent, Prices(1.0, 1.0))
    most = memory(LADDER[-1])
    for each in spent:
        assert memory(saving.better) >= min(most, HEADROOM * each.peak_mb)
        if each.too_small:
            assert memory(saving.better) >= memory(next_size(each.size) or each.size)


@given(st.lists(st.tuples(PEAKS, st.floats(0, 1e5)), min_size=1, max_size=12))
def test_at_the_better_size_nothing_is_saved(jobs):
    size = suggested([Need(peak) for peak, _ in jobs])
    saving = saving_of("train", [Spent(size, peak, s, False) for peak, s in jobs], Prices(1, 1))
    assert (saving.better, saving.cpu_s, saving.mb_s, saving.price) == (size, 0.0, 0.0, 0.0)


def test_what_is_saved():
    """Two that held l and needed s; one that ran out of memory would not have been."""
    saving = saving_of("train", [Spent("l", 500.0, 10.0, False)] * 2, Prices(3600.0, 0.0))
    assert (saving.asked, saving.better, saving.attempts) == ("2 × l", "s", 2)
    assert (saving.cpu_s, saving.mb_s) == (20.0, 2 * 10 * (8192 - 1024))
    assert saving.price == 20.0
    climbed = [Spent("s", 1000.0, 30.0, True), Spent("m", 3000.0, 60.0, False)]
    saving = saving_of("train", climbed, Prices())
    assert (saving.asked, saving.better) == ("1 × s, 1 × m", "m")
    assert (saving.cpu_s, saving.mb_s) == (30.0, 30.0 * 1024)
