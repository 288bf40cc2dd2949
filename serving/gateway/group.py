"""A group: plain requests that are one work on their way through queue and worker.

Each has its own answer, with names of its own. Where one of them has to be told from the others (its row
fails, the queue has no room for all, its connection is to end) it becomes an exchange like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

from registry.logs import get_logger
from registry.models.signature import Matrix
from serving.errors import ModelFailed, RequestError
from serving.gateway import trace
from serving.gateway.exchange import Exchange, good_head
from serving.gateway.inputs import Grid
from serving.gateway.work import Stale, Work

if TYPE_CHECKING:
    from serving.gateway.dispatch import Dispatcher
    from serving.gateway.heads import Head
    from serving.gateway.protocols.template import Template
    from serving.gateway.served import Served

log = get_logger(__name__)
_encode = msgspec.json.Encoder().encode
Fail = Callable[[Exchange, RequestError], None]


class Client(Protocol):
    """A connection, whose request is one of a group."""

    def wait_for(self, group: Group) -> None:
        """Answer nothing else before the answer of this group has come."""

    def told(self, group: Group, data: bytes, now: float) -> bool:
        """Write an answer, unless nobody waits for it any more.

        False: nothing was written, since this must be the last answer and has to say so.
        """

    def part(self, group: Group, head: Head, data: bytes) -> Exchange | None:
        """From now on wait for the exchange of this request; None if nobody waits any more."""

    def resume(self, exchange: Exchange) -> None:
        """Have an exchange that was parted answered from its beginning."""

    def stand(self, data: bytes, unsent: bytes = b"") -> None:
        """Read for yourself again: the seat on the fast path is gone.

        `data` came and was not answered; `unsent` is the rest of an answer.
        """


@dataclass(frozen=True)
class Form:
    """How the requests of one endpoint are read, and what is around the numbers in their answers."""

    #: As in `plain.Tray`.
    read: str
    body: Callable[[Template, Matrix], bytes]
    #: What is before and after the number, where the answer is one.
    around: Callable[[Template], tuple[bytes, bytes] | None]


class Group:
    """Requests to `served`, in the order in which they came."""

    __slots__ = (
        "_clients", "_clock", "_dispatcher", "_fail", "_form", "_gone", "_heads", "_requests",
        "_rows", "_served", "_work",
    )  # fmt: skip

    def __init__(
        self,
        form: Form,
        dispatcher: Dispatcher,
        served: Served,
        clock: Callable[[], float],
        fail: Fail,
    ) -> None:
        self._form = form
        self._dispatcher = dispatcher
        self._served = served
        self._clock = clock
        self._fail = fail
        self._clients: list[Client] = []
        self._requests: list[bytes] = []
        self._heads: list[Head] = []
        self._rows: list[int] = []
        self._gone = 0
        self._work: Work | None = None

    @property
    def count(self) -> int:
        """How many requests there are, also of clients that have gone."""
        return len(self._clients)

    def add(self, client: Client, data: bytes, head: Head, rows: int) -> None:
        """Take one more request, `data`, whose rows have been read."""
        self._clients.append(client)
        self._requests.append(data)
        self._heads.append(head)
        self._rows.append(rows)
        client.wait_for(self)

    def cancelled(self) -> None:
        """One client has gone. Its rows are let go of when all have; they came at the same time."""
        self._gone += 1
        work = self._work
        if work is None:
            return
        work.requests -= 1
        if not work.requests:
            self._end()
            self._dispatcher.cancel(work)

    def submit(
        self, matrix: Matrix, deadline: float, *, at_once: bool = False
    ) -> Dispatcher | None:
        """Have what was added predicted, whose rows are `matrix`.

        With `at_once`, few rows may be predicted by this process. Returns who has to build batches of
        what was queued, if anything was.
        """
        count = self.count
        if self._gone == count:
            return None
        begun, outputs = self._clock(), None
        try:
            if at_once:
                outputs = self._dispatcher.predict_at_once(self._served, matrix)
            if outputs is None:
                self._queue(matrix, deadline)
                return self._dispatcher
        except (RequestError, Stale):
            # There may be room for some of them; the others are told why there is none.
            self._end()
            self._resume()
            return None
        except Exception:
            # Nobody else would ever answer them.
            log.exception("requests failed", model=self._dispatcher.model, requests=count)
            if self._work is not None:
                self._dispatcher.cancel(self._work)
            self._end()
            self._fail_all(ModelFailed("the request could not be answered"))
            return None
        now = self._clock()
        self._served.observe(count - self._gone, now - begun, 0.0)
        self._answer(self._served, outputs, now)
        return None

    def _queue(self, matrix: Matrix, deadline: float) -> None:
        work = Work(matrix, self._served.entry.encoding, Grid(matrix), deadline, self._finish)
        work.requests = self.count - self._gone
        work.split = self._split if self.count > 1 else None
        self._begin(work)
        self._dispatcher.submit(work, pump=False)

    def _begin(self, work: Work) -> None:
        """From now on all wait for this work."""
        self._work = work

    def _end(self) -> None:
        """The work is over: it knows this group, and without each other both go at once."""
        self._work = None

    def _finish(self, work: Work) -> None:
        self._end()
        if work.error is None and work.result is not None:
            now = self._clock()
            work.pin.answered(work, now)
            self._answer(work.pin, work.result, now)
            return
        error = work.error or RequestError("the request was dropped")
        if error.status == RequestError.status and self.count > 1:
            # What is wrong with one is not with all.
            self._resume()
        else:
            self._fail_all(error)

    def _answer(self, by: Served, result: Matrix, now: float) -> None:
        bodies = self._bodies(by.template, result)
        headers = by.headers
        for index, body in enumerate(bodies):
            self._tell(index, body, headers, now)

    def _tell(self, index: int, body: bytes, headers: bytes, now: float) -> None:
        head = good_head(len(body), headers)
        data = b"".join((head[0], trace.fresh(), head[1], body))
        if not self._client(index).told(self, data, now):
            self._answer_last(index, body, headers)

    def _bodies(self, template: Template, result: Matrix) -> list[bytes]:
        around = self._form.around(template)
        if around is not None and len(result) == len(self._rows):
            before, after = around
            values = _encode(result[:, 0].tolist())[1:-1].split(b",")
            return [b"%b%b%b" % (before, value, after) for value in values]
        bodies, end = [], 0
        for rows in self._rows:
            begin, end = end, end + rows
            bodies.append(self._form.body(template, result[begin:end]))
        return bodies

    def _answer_last(self, index: int, body: bytes, headers: bytes) -> None:
        exchange = self._part(index)
        if exchange is not None:
            exchange.keep_alive = False
            exchange.answer(200, body, headers=headers)

    # one by one -------------------------------------------------------------------------------

    def _fail_all(self, error: RequestError) -> None:
        for index in range(self.count):
            exchange = self._part(index)
            if exchange is not None:
                self._fail(exchange, error)

    def _client(self, index: int) -> Client:
        return self._clients[index]

    def _part(self, index: int) -> Exchange | None:
        return self._clients[index].part(self, self._heads[index], self._requests[index])

    def _resume(self) -> None:
        """Answer each as if it had come alone."""
        for index in range(self.count):
            exchange = self._part(index)
            if exchange is not None:
                self._client(index).resume(exchange)

    def _split(self) -> list[Work]:
        """A work for each request that is still waited for."""
        whole = self._work
        assert whole is not None
        self._end()
        matrix: Matrix = whole.source.matrix
        works, end = [], 0
        for index, rows in enumerate(self._rows):
            begin, end = end, end + rows
            exchange = self._part(index)
            if exchange is not None:
                works.append(self._single(exchange, matrix[begin:end], whole))
        return works

    def _single(self, exchange: Exchange, matrix: Matrix, whole: Work) -> Work:
        encoding = self._served.entry.encoding

        def finish(work: Work) -> None:
            answer(exchange, work, self._form, self._fail, self._clock())

        work = Work(matrix, encoding, Grid(matrix), whole.deadline, finish)
        work.admitted = whole.admitted
        exchange.cancelled = lambda: self._dispatcher.cancel(work)
        return work


def answer(exchange: Exchange, work: Work, form: Form, fail: Fail, now: float) -> None:
    """Answer a plain request that is not one of a group."""
    if work.error is not None or work.result is None:
        fail(exchange, work.error or RequestError("the request was dropped"))
        return
    by: Served = work.pin
    by.answered(work, now)
    exchange.served = by
    exchange.answer(200, form.body(by.template, work.result), headers=by.headers)
