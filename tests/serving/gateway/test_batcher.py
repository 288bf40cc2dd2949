"""The batcher against a model: nothing lost, nothing answered twice, first in first out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from registry.models.signature import Matrix
from serving.errors import BodyTooLarge, DeadlinePassed, ModelFailed, Overloaded, RequestError
from serving.gateway.batch import Batch, Policy
from serving.gateway.batcher import Batcher
from serving.gateway.work import Stale, Work


class FakeTarget:
    """A generation whose model multiplies by `factor` what its encoding shifted."""

    def __init__(self, number: int, encoding: str = "a") -> None:
        self.number = number
        self.encoding = encoding

    def encode(self, source: Any) -> Matrix:
        if source == "unfit":
            raise RequestError("does not fit")
        return np.asarray(source, dtype=np.float64).reshape(-1, 1) + ord(self.encoding)

    def predict(self, rows: Matrix) -> Matrix:
        return rows * 1000 + self.number


def work_of(
    target: FakeTarget, values: list[int], deadline: float = 1e9, priority: int = 1
) -> tuple[Work, list[Work]]:
    ended: list[Work] = []
    matrix = target.encode(values)
    return Work(matrix, target.encoding, values, deadline, ended.append, priority), ended


def started(**policy: Any) -> tuple[Batcher, FakeTarget]:
    batcher, target = Batcher(Policy(**policy)), FakeTarget(1)
    batcher.target = target
    return batcher, target


def predict(batch: Batch) -> Matrix:
    buffer = np.full((batch.rows, 1), np.nan)
    batch.fill(buffer)
    answers: Matrix = batch.target.predict(buffer)
    return answers


def test_fills_a_batch_in_order_and_splits_what_does_not_fit() -> None:
    batcher, target = started(max_batch_size=4)
    (first, _), (second, ended) = work_of(target, [1, 2, 3]), work_of(target, [4, 5, 6])
    batcher.admit(first, 0.0)
    batcher.admit(second, 0.0)
    one = batcher.take(0.0)
    two = batcher.take(0.0)
    assert one is not None
    assert two is not None
    assert (one.rows, two.rows, batcher.rows) == (4, 2, 0)
    batcher.done(two, predict(two))
    assert ended == []
    batcher.done(one, predict(one))
    assert ended == [second]
    np.testing.assert_array_equal(second.result, target.predict(target.encode([4, 5, 6])))


def test_higher_priority_goes_first() -> None:
    batcher, target = started(max_batch_size=1)
    (normal, _), (urgent, _) = work_of(target, [1]), work_of(target, [2], priority=0)
    batcher.admit(normal, 0.0)
    batcher.admit(urgent, 0.0)
    batch = batcher.take(0.0)
    assert batch is not None
    assert batch.spans[0].work is urgent


def test_a_full_queue_refuses_at_once() -> None:
    batcher, target = started(max_queue_rows=3)
    batcher.admit(work_of(target, [1, 2])[0], 0.0)
    with pytest.raises(Overloaded):
        batcher.admit(work_of(target, [3, 4])[0], 0.0)
    with pytest.raises(BodyTooLarge):
        batcher.admit(work_of(target, [1, 2, 3, 4])[0], 0.0)
    assert batcher.rows == 2


def test_expired_and_cancelled_rows_reach_no_buffer() -> None:
    batcher, target = started()
    expired, ended = work_of(target, [1], deadline=5.0)
    cancelled, silent = work_of(target, [2])
    good, _ = work_of(target, [3])
    for work in (expired, cancelled, good):
        batcher.admit(work, 0.0)
    batcher.cancel(cancelled)
    batch = batcher.take(6.0)
    assert batch is not None
    assert [span.work for span in batch.spans] == [good]
    assert isinstance(expired.error, DeadlinePassed)
    assert (ended, silent) == ([expired], [])


def test_what_waits_is_turned_away_whole_and_late_answers_are_dropped() -> None:
    """Also where a part is being computed already; what is not waiting goes its way."""
    batcher, target = started(max_batch_size=2)
    turned: list[Work] = []
    batcher.on_stale = turned.append
    small, small_ended = work_of(target, [1, 2])
    large, large_ended = work_of(target, [3, 4, 5])
    for work in (small, large):
        batcher.admit(work, 0.0)
    lent = [batcher.take(0.0), batcher.take(0.0)]
    batcher.turn_away()
    assert (turned, batcher.rows, batcher.unsettled) == ([large], 0, 1)
    for batch in lent:
        assert batch is not None
        batcher.done(batch, predict(batch))
    assert (small_ended, large_ended) == ([small], [])
    assert large.result is None


def test_a_target_that_wants_another_way_hands_the_work_back() -> None:
    batcher, _ = started()
    turned: list[Work] = []
    batcher.on_stale = turned.append
    other = FakeTarget(2, "b")

    class Stubborn(FakeTarget):
        def encode(self, source: Any) -> Matrix:
            raise Stale

    work, ended = work_of(other, [1])
    batcher.target = Stubborn(1)
    batcher.admit(work, 0.0)
    assert batcher.take(0.0) is None
    assert (turned, ended, batcher.rows, batcher.unsettled) == ([work], [], 0, 0)


def test_deadline_of_what_is_being_computed() -> None:
    batcher, target = started()
    work, ended = work_of(target, [1], deadline=5.0)
    batcher.admit(work, 0.0)
    batch = batcher.take(0.0)
    assert batch is not None
    batcher.expire(5.0)
    assert isinstance(work.error, DeadlinePassed)
    batcher.done(batch, np.zeros((1, 1)))
    assert ended == [work]


def test_waits_for_company_only_when_told_to() -> None:
    batcher, target = started(max_batch_size=2, max_queue_delay=0.5)
    assert batcher.wait(0.0) is None
    batcher.admit(work_of(target, [1])[0], 1.0)
    assert batcher.wait(1.2) == pytest.approx(0.3)
    assert batcher.wait(1.5) == 0.0
    batcher.admit(work_of(target, [2])[0], 1.2)
    assert batcher.wait(1.2) == 0.0


def test_exception_fails_only_the_culprit() -> None:
    batcher, target = started()
    works = [work_of(target, [value]) for value in range(4)]
    for work, _ in works:
        batcher.admit(work, 0.0)
    batch = batcher.take(0.0)
    assert batch is not None
    batcher.failed(batch)
    for number in range(4):
        single = batcher.take(0.0)
        assert single is not None
        assert single.rows == 1
        if number == 2:
            batcher.failed(single)
        else:
            batcher.done(single, predict(single))
    assert [type(work.error) for work, _ in works] == [type(None)] * 2 + [ModelFailed, type(None)]
    assert all(len(ended) == 1 for _, ended in works)


def test_a_row_that_kills_two_workers_alone_is_poison() -> None:
    batcher, target = started()
    innocent, poison = work_of(target, [1]), work_of(target, [2])
    batcher.admit(innocent[0], 0.0)
    batcher.admit(poison[0], 0.0)
    batch = batcher.take(0.0)
    assert batch is not None
    batcher.died(batch)
    assert batcher.take(0.0, idle=False) is None
    first = batcher.take(0.0)
    assert first is not None
    batcher.done(first, predict(first))
    for _ in range(2):
        assert poison[1] == []
        again = batcher.take(0.0)
        assert again is not None
        batcher.died(again)
    assert isinstance(poison[0].error, ModelFailed)
    assert innocent[0].error is None
    assert batcher.take(0.0) is None


def test_a_split_request_that_meets_a_flip_is_answered_by_one_generation() -> None:
    batcher, target = started(max_batch_size=2)
    work, ended = work_of(target, [1, 2, 3])
    batcher.admit(work, 0.0)
    early = batcher.take(0.0)
    assert early is not None
    newer = FakeTarget(2, "b")
    batcher.target = newer
    late = batcher.take(0.0)
    assert late is not None
    batcher.done(early, predict(early))
    batcher.done(late, predict(late))
    assert ended == []
    rest = batcher.take(0.0)
    assert rest is not None
    batcher.done(rest, predict(rest))
    assert ended == [work]
    assert work.pin is newer
    np.testing.assert_array_equal(work.result, newer.predict(newer.encode([1, 2, 3])))


@pytest.mark.parametrize("mishap", ["died", "failed", "give_back"])
def test_a_mishap_to_rows_that_were_started_again_does_not_bring_them_back(mishap: str) -> None:
    batcher, target = started(max_batch_size=2)
    work, ended = work_of(target, [1, 2, 3])
    batcher.admit(work, 0.0)
    early = batcher.take(0.0)
    assert early is not None
    batcher.target = FakeTarget(2, "b")
    late = batcher.take(0.0)
    assert late is not None
    getattr(batcher, mishap)(early)
    assert batcher.rows == 1
    rest = batcher.take(0.0)
    assert rest is not None
    batcher.done(rest, predict(rest))
    batcher.done(late, predict(late))
    assert ended == [work]
    assert batcher.take(0.0) is None


def test_a_request_that_the_new_signature_refuses_is_told_so() -> None:
    batcher, target = started()
    work, _ = work_of(target, [1])
    work.source = "unfit"
    batcher.admit(work, 0.0)
    batcher.target = FakeTarget(2, "b")
    assert batcher.take(0.0) is None
    assert isinstance(work.error, RequestError)
    assert batcher.rows == batcher.unsettled == 0


class BatcherMachine(RuleBasedStateMachine):
    """Random traffic, deaths, failures and flips. The model: what each request asked, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.values = 0
        self.targets = 1
        self.asked: dict[Work, list[int]] = {}
        self.ended: dict[Work, int] = {}
        self.cancelled: set[Work] = set()
        #: Works of several requests in whose place their parts went on.
        self.split: set[Work] = set()
        self.flying: list[Batch] = []
        self.order: list[Work] = []

    @initialize(size=st.integers(1, 5), limit=st.integers(5, 20))
    def start(self, size: int, limit: int) -> None:
        self.batcher = Batcher(Policy(max_batch_size=size, max_queue_rows=limit))
        self.batcher.target = FakeTarget(1)

    def finish(self, work: Work) -> None:
        self.ended[work] = self.ended.get(work, 0) + 1

    @rule(rows=st.integers(1, 7), patience=st.sampled_from([3.0, 1e9]), priority=st.integers(0, 1))
    def admit(self, rows: int, patience: float, priority: int) -> None:
        values = list(range(self.values, self.values + rows))
        self.values += rows
        target: Any = self.batcher.target
        work = Work(
            target.encode(values),
            target.encoding,
            values,
            self.now + patience,
            self.finish,
            priority,
        )
        waiting = self.batcher.rows
        try:
            self.batcher.admit(work, self.now)
        except (Overloaded, BodyTooLarge):
            assert waiting + rows > self.batcher.policy.max_queue_rows
        else:
            self.asked[work] = values
            self.order.append(work)

    @rule(rows=st.lists(st.integers(1, 3), min_size=2, max_size=4))
    def admit_group(self, rows: list[int]) -> None:
        """Several requests as one work. Once it is split, its parts stand for it."""
        values = list(range(self.values, self.values + sum(rows)))
        self.values += sum(rows)
        target: Any = self.batcher.target
        work = Work(target.encode(values), target.encoding, values, 1e9, self.finish)
        work.requests = len(rows)

        def split() -> list[Work]:
            parts, end = [], 0
            for count in rows:
                begin, end = end, end + count
                own = values[begin:end]
                parts.append(Work(target.encode(own), target.encoding, own, 1e9, self.finish))
                self.asked[parts[-1]] = own
            self.split.add(work)
            return parts

        work.split = split
        try:
            self.batcher.admit(work, self.now)
        except (Overloaded, BodyTooLarge):
            return
        self.asked[work] = values
        self.order.append(work)

    @rule(idle=st.booleans())
    def take(self, idle: bool) -> None:
        fresh = [w for w in self.order if not w.settled and w.pin is None and not w.suspect]
        batch = self.batcher.take(self.now, idle=idle)
        if batch is None:
            return
        assert 0 < batch.rows <= self.batcher.policy.max_batch_size
        assert all(span.live and span.work.deadline > self.now for span in batch.spans)
        assert not any(span.alone for span in batch.spans) or (batch.rows == 1 and idle)
        self.check_fifo(batch, fresh)
        self.flying.append(batch)

    def check_fifo(self, batch: Batch, fresh: list[Work]) -> None:
        """Requests of one priority that begin do so in the order in which they were admitted."""
        for priority in (0, 1):
            began = [s.work for s in batch.spans if s.work.priority == priority and s.work in fresh]
            eligible = [w for w in fresh if w.priority == priority and w.deadline > self.now]
            assert list(dict.fromkeys(began)) == eligible[: len(set(began))]

    def _some_batch(self, data: st.DataObject) -> Batch:
        return self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        batch = self._some_batch(data)
        rows = np.zeros((batch.rows, 1))
        end = 0
        for span in batch.spans:
            begin, end = end, end + span.rows
            if span.live:
                assert span.work.matrix is not None
                rows[begin:end] = span.work.matrix[span.start : span.stop]
        self.batcher.done(batch, batch.target.predict(rows))

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), how=st.sampled_from(["died", "failed", "give_back"]))
    def mishap(self, data: st.DataObject, how: str) -> None:
        getattr(self.batcher, how)(self._some_batch(data))

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        work = data.draw(st.sampled_from(list(self.asked)))
        if not work.settled:
            self.batcher.cancel(work)
            self.cancelled.add(work)

    @rule(encoding=st.sampled_from("ab"))
    def flip(self, encoding: str) -> None:
        self.targets += 1
        self.batcher.target = FakeTarget(self.targets, encoding)

    @rule()
    def time_passes(self) -> None:
        self.now += 2.0
        self.batcher.expire(self.now)

    @invariant()
    def answers_are_whole_and_of_one_generation(self) -> None:
        for work, count in self.ended.items():
            assert count == 1
            assert work not in self.cancelled
            assert work not in self.split
            if work.error is None:
                expected = work.pin.predict(work.pin.encode(self.asked[work]))
                np.testing.assert_array_equal(work.result, expected)

    @invariant()
    def rows_are_counted(self) -> None:
        if not hasattr(self, "batcher"):
            return
        queues = self.batcher._queues
        assert self.batcher.rows == sum(s.rows for q in queues for s in q if s.live)
        open_works = set(self.asked) - set(self.ended) - self.cancelled - self.split
        assert self.batcher.unsettled == sum(work.requests for work in open_works)

    def teardown(self) -> None:
        """Drain: every request that nobody cancelled is answered exactly once."""
        if not hasattr(self, "batcher"):
            return
        for _ in range(10_000):
            while (batch := self.batcher.take(self.now)) is not None:
                self.flying.append(batch)
            if not self.flying:
                break
            batch = self.flying.pop(0)
            buffer = np.zeros((batch.rows, 1))
            if all(span.live for span in batch.spans):
                batch.fill(buffer)
                self.batcher.done(batch, batch.target.predict(buffer))
            else:
                self.batcher.give_back(batch)
        assert set(self.ended) | self.cancelled | self.split == set(self.asked)
        self.answers_are_whole_and_of_one_generation()


TestBatcherMachine = BatcherMachine.TestCase
TestBatcherMachine.settings = settings(stateful_step_count=60)
