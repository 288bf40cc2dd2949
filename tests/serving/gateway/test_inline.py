"""Inline scoring: what the gateway predicts itself, and all that it leaves to real workers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.models.signature import Matrix
from serving.errors import DeadlinePassed, ModelFailed
from serving.gateway.inline import LONGEST, Inline
from serving.gateway.trial import Trial
from tests.serving.crashing_worker import DEADLY, RAISING, SLOW
from tests.serving.gateway.test_dispatch import Bench, bench, doubled, running

MOST = 4

pytestmark = pytest.mark.usefixtures("no_fd_leaks")


class Triple:
    """Answers three times the first column, so that answers tell who gave them: workers double."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.asked: list[float] = []
        self.closed = False

    def predict(self, matrix: Matrix) -> Matrix:
        self.asked += matrix[:, 0].tolist()
        if (matrix[:, 0] == RAISING).any():
            raise MemoryError("thirteen")
        time.sleep(self.seconds)
        return matrix[:, :1] * 3

    def close(self) -> None:
        self.closed = True


async def inline(made: Bench, seconds: float = 0.0) -> Triple:
    """Let the active generation of `made` be predicted inline, after a worker was first."""
    model = Triple(seconds)
    made.served.inline = Inline(lambda: model, MOST)
    made.served.inline.open()
    assert doubled(await made.ask(0.5)) == [1.0]
    for _ in range(50):  # however long that took on a busy machine
        made.served.inline.note(1, LONGEST / 100)
    return model


async def turn() -> None:
    """Let what was asked be lent."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


@running
async def test_few_rows_are_predicted_here_and_counted_as_elsewhere() -> None:
    async with bench() as made:
        await inline(made)
        works = await asyncio.gather(made.ask(1.0), made.ask(2.0, 3.0))
        assert [doubled(work) for work in works] == [[3.0], [6.0, 9.0]]
        tally = made.served.tally
        assert (tally.inline, tally.rows.count, tally.compute.count) == (1, 2, 2)
        assert (tally.rows.sum, tally.link.count) == (4, 1)
        assert all(work.pin is made.served for work in works)
        assert all(work.admitted <= work.dispatched for work in works)
        assert made.dispatcher.gauges()["pending_request_count"][1] == 0


@running
async def test_more_rows_go_to_a_worker() -> None:
    async with bench() as made:
        await inline(made)
        assert doubled(await made.ask(*[1.0] * (MOST + 1))) == [2.0] * (MOST + 1)
        together = [made.ask(1.0) for _ in range(MOST + 1)]
        assert [doubled(await answered) for answered in together] == [[2.0]] * (MOST + 1)
        assert made.served.tally.inline == 0


@running
async def test_while_a_worker_is_busy_the_pool_answers() -> None:
    async with bench(workers=2) as made:
        model = await inline(made)
        slow = made.ask(*[SLOW] * (MOST + 1))
        await turn()
        assert made.served.busy
        assert doubled(await made.ask(1.0)) == [2.0]
        await slow
        assert doubled(await made.ask(1.0)) == [3.0]
        assert model.asked == [1.0]


@running
async def test_what_waited_behind_a_batch_goes_to_a_worker_too() -> None:
    async with bench(max_batch_size=8) as made:
        model = await inline(made)
        slow = made.ask(*[SLOW] * (MOST + 1))
        await turn()
        behind = made.ask(1.0)
        assert doubled(await behind) == [2.0]
        await slow
        assert model.asked == []
        assert doubled(await made.ask(1.0)) == [3.0]


@running
async def test_without_a_worker_rows_wait_and_a_new_one_is_first() -> None:
    async with bench() as made:
        await inline(made)
        (dead,) = made.served.links
        made.processes[0].kill()
        while dead in made.served.links:
            await turn()
        asked = made.ask(1.0)
        await turn()
        assert not asked.done()
        assert doubled(await asked) == [2.0]
        assert doubled(await made.ask(1.0)) == [3.0]


@running
async def test_a_slow_model_is_left_to_workers_until_it_is_quick_again() -> None:
    async with bench() as made:
        model = await inline(made, seconds=0.01)
        while doubled(await made.ask(1.0)) == [3.0]:
            pass
        assert len(model.asked) < 10
        model.seconds = 0.0
        while doubled(await made.ask(1.0)) == [2.0]:
            pass


@running
async def test_what_fails_here_is_tried_by_a_worker_and_everything_after_it() -> None:
    async with bench() as made:
        model = await inline(made)
        asked = made.ask(1.0, RAISING)
        assert isinstance((await asked).error, ModelFailed)
        assert model.closed
        assert doubled(await made.ask(5.0)) == [10.0]
        assert model.asked == [1.0, RAISING]


@running
async def test_rows_under_suspicion_stay_with_workers() -> None:
    async with bench() as made:
        model = await inline(made)
        rows = [float(value) for value in range(100, 100 + MOST)]
        bad = made.ask(*rows, DEADLY)
        assert isinstance((await bad).error, ModelFailed)
        assert model.asked == []


@running
async def test_what_nobody_waits_for_is_not_predicted() -> None:
    async with bench() as made:
        model = await inline(made)
        late = made.ask(1.0, patience=0.0)
        made.ask(2.0)
        cancelled = list(made.dispatcher._model.batcher._works)[-1]
        made.dispatcher.cancel(cancelled)
        assert isinstance((await late).error, DeadlinePassed)
        assert doubled(await made.ask(3.0)) == [9.0]
        assert model.asked == [3.0]


@running
async def test_a_batch_waits_for_company_here_too() -> None:
    async with bench(max_queue_delay=0.05) as made:
        await inline(made)
        first = made.ask(1.0)
        await turn()
        works = await asyncio.gather(first, made.ask(2.0))
        assert [doubled(work) for work in works] == [[3.0], [6.0]]
        assert made.served.tally.inline == 1


@running
async def test_what_is_answered_here_is_on_trial() -> None:
    async with bench() as made:
        await inline(made)
        made.served.trial = Trial(3)
        made.dispatcher.flip(made.served)
        for _ in range(4):
            await made.ask(1.0)
        assert made.dispatcher.tried() == (1, 3, 0)


@running
async def test_a_flip_between_two_requests_changes_who_answers() -> None:
    async with bench() as made:
        await inline(made)
        assert (await made.ask(1.0)).pin is made.served
        newer = made.generation(2)
        made.start(newer)
        made.dispatcher.flip(newer)
        answer = await made.ask(1.0)
        assert answer.pin is newer
        assert doubled(answer) == [2.0]


def test_what_is_closed_before_it_is_open_is_let_go_of() -> None:
    model = Triple()
    early = Inline(lambda: model, MOST)
    early.note(1, 0.0)
    early.close()
    early.open()
    assert model.closed
    assert not early.takes(1)


def test_what_cannot_be_opened_is_left_to_workers() -> None:
    def fail() -> Triple:
        raise OSError("no such device")

    loads: list[Callable[[], Triple | None]] = [fail, lambda: None]
    for load in loads:
        model = Inline(load, MOST)
        model.note(1, 0.0)
        model.open()
        assert not model.takes(1)
        model.close()


@given(st.lists(st.floats(0, 10), max_size=40))
def test_nothing_is_slow_for_ever(spells: list[float]) -> None:
    model = Inline(Triple, MOST)
    model.open()
    for seconds in spells:
        model.note(1, seconds)
        model.note(MOST + 1, 10.0)
    for _ in range(20):
        model.note(MOST, LONGEST / 10)
    assert model.takes(MOST)
    assert not model.takes(0)
    assert not model.takes(MOST + 1)
