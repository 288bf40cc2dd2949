"""The batcher: which rows go into the next batch. Pure: no sockets, no clock of its own.

Admitted work waits in one FIFO per priority. Nothing is dropped into a buffer before a worker is
there to compute it, so what expired or was cancelled in the meantime costs nothing, and the queue
itself builds the batch while the workers are busy. Every row of a work is answered by one
generation: a work that meets a flip half-way starts again on the new one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from registry.models.signature import Matrix
from serving.errors import BodyTooLarge, DeadlinePassed, ModelFailed, Overloaded, RequestError
from serving.gateway.batch import Batch, Policy
from serving.gateway.work import Span, Stale, Target, Work

#: A row that ended this many workers while it was alone in its batch is poison.
POISON_DEATHS = 2
PRIORITIES = 2


class Batcher:
    """The queue of one model."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.target: Target | None = None
        #: Told of each work that is settled after it was dispatched, if somebody wants to know.
        self.on_settled: Callable[[Work], None] | None = None
        #: Told of each work whose rows are not for this queue any more; see `Stale`.
        self.on_stale: Callable[[Work], None] | None = None
        #: Rows that wait and are still wanted.
        self.rows = 0
        self._queues: tuple[deque[Span], ...] = tuple(deque() for _ in range(PRIORITIES))
        self._works: dict[Work, None] = {}

    @property
    def unsettled(self) -> int:
        """Requests that wait or are being computed."""
        return sum(work.requests for work in self._works)

    def admit(self, work: Work, now: float) -> None:
        """Queue a work. Raises BodyTooLarge, Overloaded: see `check_room`."""
        self.check_room(work)
        work.admitted = now
        self.enter(work)

    def check_room(self, work: Work, beside: int = 0) -> None:
        """Look whether a work may wait, where `beside` rows wait elsewhere that count as well.

        Raises:
            BodyTooLarge: it has more rows than the whole queue may hold.
            Overloaded: the queue is full.
        """
        limit = self.policy.max_queue_rows
        if work.rows > limit:
            raise BodyTooLarge(f"the request has {work.rows} rows", f"at most {limit} are taken")
        if self.rows + beside + work.rows > limit:
            raise Overloaded("the queue of this model is full", "", "Try again later.")

    def enter(self, work: Work) -> None:
        """Queue a work that was admitted before."""
        self._works[work] = None
        self._push(self._queues[work.priority].append, Span(work, 0, work.rows))

    def _push(self, put: Any, span: Span) -> None:
        put(span)
        span.work.waiting += span.rows
        self.rows += span.rows

    def _pop(self, queue: deque[Span]) -> Span:
        span = queue.popleft()
        if span.live:
            span.work.waiting -= span.rows
            self.rows -= span.rows
        return span

    def _forget(self, work: Work) -> None:
        """Stop counting a work that is settled or cancelled; its spans are skipped later."""
        self._works.pop(work, None)
        # Only what is in `_works` has rows that wait.
        self.rows -= work.waiting
        work.waiting = 0

    def _settle(self, work: Work, error: RequestError | None) -> None:
        self._forget(work)
        work.settle(error)
        if self.on_settled is not None and work.pin is not None:
            self.on_settled(work)

    def refuse(self, error: RequestError) -> None:
        """Answer every work of which rows wait with an error: nobody will compute them."""
        for work in [work for work in self._works if work.waiting]:
            self._settle(work, error)
        self._compact()

    def turn_away(self) -> None:
        """Hand every work of which rows wait to `on_stale`: there is nobody here to compute them."""
        for work in [work for work in self._works if work.waiting]:
            self._stale(work)
        self._compact()

    def _stale(self, work: Work) -> None:
        self._forget(work)
        work.restart()
        if self.on_stale is not None:
            self.on_stale(work)

    def cancel(self, work: Work) -> None:
        """Drop a work whose client has gone."""
        self._forget(work)
        work.cancel()
        self._compact()

    def _compact(self) -> None:
        """Let go of dropped spans before they outnumber the waiting rows."""
        for queue in self._queues:
            if len(queue) > 2 * self.rows + 64:
                live = [span for span in queue if span.live]
                queue.clear()
                queue.extend(live)

    def expire(self, now: float) -> None:
        """Answer every work whose deadline has passed, waiting or not."""
        for work in [work for work in self._works if work.deadline <= now]:
            self._settle(work, DeadlinePassed("the deadline of the request has passed"))
        self._compact()

    def wait(self, now: float) -> float | None:
        """Seconds until a batch may be taken; 0: now; None: nothing waits."""
        if not self.rows:
            return None
        policy = self.policy
        if not policy.max_queue_delay or self.rows >= policy.max_batch_size:
            return 0.0
        oldest = min(queue[0].work.admitted for queue in self._queues if queue)
        return max(0.0, oldest + policy.max_queue_delay - now)

    def take(self, now: float, *, idle: bool = True, most: int | None = None) -> Batch | None:
        """The next batch, of up to `most` rows, or None. An `idle` worker alone gets lone rows."""
        batch = Batch(self.target, most or self.policy.max_batch_size, started=now, direct=idle)
        for queue in self._queues:
            while queue and batch.rows < batch.most:
                if self._take_whole(queue, batch, now):
                    continue
                if not self._prepare(queue, now):
                    continue
                if queue[0].alone and (batch.spans or not idle):
                    return batch if batch.spans else None
                self._move(queue, batch, now)
                if batch.spans[-1].alone:
                    return batch
        return batch if batch.spans else None

    def _take_whole(self, queue: deque[Span], batch: Batch, now: float) -> bool:
        """Move the head of the queue, if it is what most are: fresh, wanted, fitting as it is."""
        span = queue[0]
        work = span.work
        if (
            work.pin is not None or work.settled or span.alone or span.epoch != work.epoch
            or work.deadline <= now or work.encoding != batch.target.encoding
            or batch.rows + span.rows > batch.most
        ):  # fmt: skip
            return False
        queue.popleft()
        work.waiting -= span.rows
        self.rows -= span.rows
        work.pin, work.dispatched = batch.target, now
        batch.spans.append(span)
        batch.rows += span.rows
        return True

    def _prepare(self, queue: deque[Span], now: float) -> bool:
        """Make the head of the queue fit for the target; False if the head has changed."""
        span = queue[0]
        work = span.work
        if not span.live:
            queue.popleft()
            return False
        if work.deadline <= now:
            self._pop(queue)
            self._settle(work, DeadlinePassed("the deadline of the request has passed"))
            return False
        if work.pin is not None and work.pin is not self.target:
            self._pop(queue)
            self._restart(work)
            return False
        return self._encode(work)

    def _restart(self, work: Work) -> None:
        self.rows -= work.waiting
        work.waiting = 0
        work.restart()
        whole = Span(work, 0, work.rows)
        self._return([whole] if not work.suspect else whole.singles())

    def _encode(self, work: Work) -> bool:
        assert self.target is not None
        if work.encoding == self.target.encoding:
            return True
        try:
            work.matrix = self.target.encode(work.source)
        except Stale:
            self._stale(work)
            return False
        except RequestError as error:
            self._settle(work, error)
            return False
        work.encoding = self.target.encoding
        return True

    def _move(self, queue: deque[Span], batch: Batch, now: float) -> None:
        span = self._pop(queue)
        room = batch.most - batch.rows
        if span.rows > room:
            rest = Span(span.work, span.start + room, span.stop)
            span = Span(span.work, span.start, span.start + room)
            self._push(queue.appendleft, rest)
        if span.work.pin is None:
            span.work.pin = self.target
            span.work.dispatched = now
        batch.spans.append(span)
        batch.rows += span.rows

    def done(self, batch: Batch, outputs: Matrix) -> None:
        """Hand the computed rows of a batch to their works."""
        end = 0
        outputs = outputs.copy()
        for span in batch.spans:
            begin, end = end, end + span.rows
            work = span.work
            if span.live:
                if work.left == span.rows:
                    self._forget(work)
                work.accept(span.start, outputs[begin:end])
                if self.on_settled is not None and work.settled:
                    self.on_settled(work)

    def give_back(self, batch: Batch) -> None:
        """Queue the rows of a batch that no worker has touched again, first in line."""
        self._return(batch.spans)

    def failed(self, batch: Batch, error: RequestError | None = None) -> None:
        """No answer to this batch: find the row that it was, fail only its request with `error`."""
        if not batch.lone:
            self._isolate(batch)
            return
        for span in batch.spans:
            if span.live:
                own = ModelFailed("the model could not answer these rows")
                self._settle(span.work, error or own)

    def died(self, batch: Batch) -> None:
        """A worker died on this batch: try its rows one by one, refuse one that kills twice."""
        if not batch.lone:
            self._isolate(batch)
            return
        for span in batch.spans:
            span.alone = span.work.suspect = True
            span.deaths += 1
            if span.deaths < POISON_DEATHS:
                self._return([span])
            elif span.live:
                error = ModelFailed("the model's process ends on these rows; they are refused")
                self._settle(span.work, error)

    def _isolate(self, batch: Batch) -> None:
        singles: list[Span] = []
        for span in batch.spans:
            if span.live and span.work.split is not None:
                singles += self._split(span.work, span.work.split)
            elif span.live:
                span.work.suspect = True
                singles += span.singles()
        self._return(singles)

    def _split(self, work: Work, split: Callable[[], list[Work]]) -> list[Span]:
        """Go on with each request of a work by itself: only the one that fails is to be refused."""
        parts = split()
        self.cancel(work)
        for part in parts:
            part.suspect = True
            self._works[part] = None
        return [single for part in parts for single in Span(part, 0, part.rows).singles()]

    def _return(self, spans: list[Span]) -> None:
        for span in reversed(spans):
            if span.live:
                self._push(self._queues[span.work.priority].appendleft, span)
