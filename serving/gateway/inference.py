"""From a request for predictions to its answer, in either protocol."""

from __future__ import annotations

from collections.abc import Callable

from registry.models.signature import Matrix
from serving.errors import RequestError
from serving.gateway.catalog import Catalog
from serving.gateway.content import media_type
from serving.gateway.dispatch import Dispatcher
from serving.gateway.exchange import JSON, OCTETS, Exchange
from serving.gateway.inputs import Grid, Inputs
from serving.gateway.protocols import binary, mlflow, oip
from serving.gateway.protocols.oip import InferRequest
from serving.gateway.sampler import Sampler
from serving.gateway.served import Served
from serving.gateway.work import Work

Reply = Callable[[Served, Matrix], None]
Fail = Callable[[Exchange, RequestError], None]


class Inference:
    """Admits requests and answers them when their rows are computed."""

    def __init__(
        self,
        catalog: Catalog,
        clock: Callable[[], float],
        timeout: float,
        sampler: Sampler | None = None,
    ) -> None:
        self._catalog = catalog
        self._sampler = sampler
        self._clock = clock
        self._timeout = timeout

    def infer(self, exchange: Exchange, model: str, version: str | None, fail: Fail) -> None:
        """`POST /v2/models/{model}[/versions/{version}]/infer`."""
        dispatcher, served = self._catalog.active(model, version)
        reader = served.encoder.plain
        if reader is not None and binary.HEADER not in exchange.headers:
            matrix = reader.tensor(exchange.body)
            if matrix is not None:
                self._answer_plain(exchange, dispatcher, served, matrix, _tensors, fail)
                return
        request = _read(exchange, served)
        oip.check_outputs(request, served.signature)
        as_bytes: frozenset[str] = frozenset()
        if request.parameters or request.outputs:
            as_bytes = binary.outputs_as_bytes(request, served.signature)

        def reply(by: Served, result: Matrix) -> None:
            if as_bytes:
                body, length = binary.answer(by, request, result, as_bytes)
                headers = b"%b%b: %d\r\n" % (by.headers, binary.HEADER, length)
                exchange.answer(200, body, OCTETS, headers)
            else:
                exchange.answer(200, oip.answer(by, request, result), headers=by.headers)

        inputs = oip.inputs_of(request, served.encoder)
        timeout = min(request.timeout or self._timeout, self._timeout)
        work = self._work(exchange, served, inputs, timeout, reply, fail)
        work.priority = request.priority
        self._submit(exchange, dispatcher, served, work)

    def invoke(self, exchange: Exchange, fail: Fail) -> None:
        """`POST /invocations`."""
        dispatcher, served = self._catalog.active(self._catalog.only(), None)
        reader = served.encoder.plain
        if reader is not None and exchange.headers.get(b"content-type", JSON) == JSON:
            matrix = reader.rows(exchange.body)
            if matrix is not None:
                self._answer_plain(exchange, dispatcher, served, matrix, _predictions, fail)
                return
        inputs = mlflow.read(exchange.body, media_type(exchange), served.signature)

        def reply(by: Served, result: Matrix) -> None:
            exchange.answer(200, _predictions(by, result), headers=by.headers)

        work = self._work(exchange, served, inputs, self._timeout, reply, fail)
        self._submit(exchange, dispatcher, served, work)

    def _answer_plain(
        self,
        exchange: Exchange,
        dispatcher: Dispatcher,
        served: Served,
        matrix: Matrix,
        body: Callable[[Served, Matrix], bytes],
        fail: Fail,
    ) -> None:
        """Nothing of the request is left but its numbers."""

        def finish(work: Work) -> None:
            if work.error is not None or work.result is None:
                fail(exchange, work.error or RequestError("the request was dropped"))
                return
            self.count(work)
            by: Served = work.pin
            exchange.served = by
            exchange.answer(200, body(by, work.result), headers=by.headers)

        deadline = self._clock() + self._timeout
        work = Work(matrix, served.entry.encoding, Grid(matrix), deadline, finish)
        self._submit(exchange, dispatcher, served, work)

    def _submit(
        self, exchange: Exchange, dispatcher: Dispatcher, served: Served, work: Work
    ) -> None:
        if self._sampler is not None:
            self._sampler.watch(work, exchange.names, served)
        dispatcher.submit(work)
        exchange.cancelled = lambda: dispatcher.cancel(work)

    def _work(
        self,
        exchange: Exchange,
        served: Served,
        inputs: Inputs,
        timeout: float,
        reply: Reply,
        fail: Fail,
    ) -> Work:
        def finish(work: Work) -> None:
            if work.error is not None or work.result is None:
                fail(exchange, work.error or RequestError("the request was dropped"))
                return
            self.count(work)
            exchange.served = work.pin
            reply(work.pin, work.result)

        rows, deadline = served.rows_of(inputs), self._clock() + timeout
        return Work(rows, served.entry.encoding, inputs, deadline, finish)

    def count(self, work: Work) -> None:
        """Count a request that is answered with a prediction."""
        tally = work.pin.tally
        tally.request.observe(self._clock() - work.admitted)
        tally.queue.observe(work.dispatched - work.admitted)


def _tensors(by: Served, result: Matrix) -> bytes:
    return by.template.tensors(result)


def _predictions(by: Served, result: Matrix) -> bytes:
    return by.template.predictions(result)


def _read(exchange: Exchange, served: Served) -> InferRequest:
    length = exchange.headers.get(binary.HEADER)
    if length is None:
        return oip.parse(exchange.body)
    return binary.parse(exchange.body, length, served.signature)
