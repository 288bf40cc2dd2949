"""When to give up, to wait, to go back: the rules by themselves, on a clock of the test's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.breaker import Breaker
from serving.errors import DeadlinePassed, ModelFailed, RequestError
from serving.gateway.trial import Trial
from serving.gateway.watchdog import LONGEST_LOOK, Watchdog
from serving.pace import PATIENCE, Pace
from serving.probation import Probation

# breaker --------------------------------------------------------------------------------------


def test_the_breaker_opens_after_deaths_in_a_row_within_the_window() -> None:
    breaker = Breaker(3, 10.0)
    assert [breaker.died(now) for now in (0.0, 1.0, 2.0)] == [False, False, True]
    assert breaker.died(100.0), "it stays open until something is answered"
    breaker.answered()
    assert [breaker.died(now) for now in (101.0, 112.0, 123.0)] == [False] * 3


def test_a_breaker_that_is_switched_off_never_opens() -> None:
    breaker = Breaker(0, 10.0)
    assert not any(breaker.died(0.0) for _ in range(100))


@given(st.lists(st.booleans(), max_size=60))
def test_it_is_open_exactly_if_so_many_deaths_came_since_an_answer(events: list[bool]) -> None:
    breaker, in_a_row = Breaker(4, 1000.0), 0
    for now, died in enumerate(events):
        if died:
            breaker.died(float(now))
        else:
            breaker.answered()
        in_a_row = in_a_row + 1 if died else 0
        assert breaker.open == (in_a_row >= 4)


# watchdog -------------------------------------------------------------------------------------


class Link:
    """As much of a link as the watchdog sees."""

    def __init__(self, sequence: int | None = None) -> None:
        self.loans = [SimpleNamespace(sequence=sequence)] if sequence is not None else []

    def lend(self, sequence: int) -> None:
        self.loans = [SimpleNamespace(sequence=sequence)]


def looks(watchdog: Watchdog, links: list[Any], *times: float) -> list[list[Any]]:
    return [watchdog.look(links, now) for now in times]


def test_a_batch_that_is_out_too_long_is_found() -> None:
    stuck, busy, idle = Link(1), Link(1), Link()
    watchdog = Watchdog(2.0)
    assert looks(watchdog, [stuck, busy, idle], 0.0, 1.0) == [[], []]
    busy.lend(2)
    assert looks(watchdog, [stuck, busy, idle], 2.0) == [[stuck]]
    assert looks(watchdog, [busy, idle], 3.0, 4.0) == [[], [busy]]


def test_time_in_which_nobody_looked_counts_for_little() -> None:
    """After the gateway itself was stopped, answers lie unread."""
    watchdog = Watchdog(2.0)
    links = [Link(1)]
    assert looks(watchdog, links, 0.0, 1000.0) == [[], []]
    assert LONGEST_LOOK < 2.0
    assert looks(watchdog, links, 1001.0) == [links]


# pace -----------------------------------------------------------------------------------------


def test_a_first_change_is_followed_at_once_and_a_burst_when_it_is_over() -> None:
    pace = Pace(5.0, 0, 60.0)
    pace.changed(100.0)
    assert pace.wait(100.0) == 0
    pace.changed(102.0)
    assert pace.wait(102.0) == 5.0
    pace.changed(104.0)
    assert pace.wait(105.0) == 4.0
    assert pace.wait(105.0, cheap=True) == 0
    assert pace.wait(109.0) == 0
    pace.changed(200.0)
    assert pace.wait(200.0) == 0


def test_an_endless_burst_is_followed_in_the_end() -> None:
    pace = Pace(5.0, 0, 60.0)
    for now in range(0, 1000, 2):
        pace.changed(float(now))
        if now >= 5 * PATIENCE:
            assert pace.wait(float(now)) == 0
            return


def test_no_more_swaps_than_the_period_may_have() -> None:
    pace = Pace(0.0, 2, 60.0)
    for now in (0.0, 10.0):
        pace.changed(now)
        assert pace.wait(now) == 0
        pace.swapped(now)
    pace.changed(20.0)
    assert pace.wait(20.0) == pace.wait(20.0, cheap=True) == 40.0
    assert pace.wait(60.0) == 0


# trial ----------------------------------------------------------------------------------------


def work(error: RequestError | None = None, admitted: float = 0.0, requests: int = 1) -> Any:
    return SimpleNamespace(error=error, admitted=admitted, requests=requests)


def test_a_trial_counts_what_is_the_models_fault() -> None:
    trial = Trial(5, slow=1.0)
    trial.count(work(), 0.5)
    trial.count(work(ModelFailed("x")), 0.5)
    trial.count(work(DeadlinePassed("x")), 0.5)
    assert trial.news() == (3, 2)
    trial.count(work(), 1.5)
    trial.count(work(RequestError("the client's")), 0.5)
    assert trial.over
    trial.count(work(ModelFailed("too late")), 0.5)
    assert trial.news() == (2, 1)
    assert trial.news() == (0, 0)


def test_a_trial_counts_each_request_of_a_work() -> None:
    trial = Trial(10, slow=1.0)
    trial.count(work(requests=4), 0.5)
    trial.count(work(requests=3), 1.5)
    assert trial.news() == (7, 3)
    trial.count(work(ModelFailed("x"), requests=8), 0.5)
    assert (trial.news(), trial.over) == ((3, 3), True)


@pytest.mark.parametrize(
    ("reports", "failed", "over"),
    [
        ([(1, 1)], False, False),
        ([(5, 5)], False, False),
        ([(5, 5), (1, 1)], True, True),
        ([(5, 5), (5, 0)], False, True),
        ([(10, 0), (90, 90)], False, True),
    ],
)
def test_probation(reports: list[tuple[int, int]], failed: bool, over: bool) -> None:
    probation = Probation(10, 0.5)
    for requests, bad in reports:
        probation.report(requests, bad)
    assert (probation.failed, probation.over) == (failed, over)
