"""From a request for predictions to its answer, in either protocol."""

from __future__ import annotations

from collections.abc import Callable

from registry.models.signature import Matrix
from serving.errors import RequestError
from serving.gateway.catalog import Catalog
from serving.gateway.content import media_type
from serving.gateway.dispatch import Dispatcher
from serving.gateway.exchange import JSON, OCTETS, Exchange
from serving.gateway.gather import Find, Gather, Soon, Turn
from serving.gateway.group import Fail, Form, answer
from serving.gateway.inputs import Grid, Inputs
from serving.gateway.protocols import binary, mlflow, oip
from serving.gateway.protocols.oip import InferRequest
from serving.gateway.protocols.template import Template
from serving.gateway.sampler import Sampler
from serving.gateway.served import Served
from serving.gateway.work import Work

Reply = Callable[[Served, Matrix], None]
#: How plain requests are read and answered: the Open Inference Protocol's, and MLflow's.
TENSORS = Form("tensor", Template.tensors, lambda template: template.tensor)
ROWS = Form("rows", Template.predictions, lambda template: template.prediction)


class Inference:
    """Admits requests and answers them when their rows are computed."""

    def __init__(
        self,
        catalog: Catalog,
        clock: Callable[[], float],
        timeout: float,
        sampler: Sampler | None = None,
        soon: Soon | None = None,
    ) -> None:
        """With `soon`, plain requests are gathered, unless each is to be sampled."""
        self._catalog = catalog
        self._sampler = sampler
        self._clock = clock
        self._timeout = timeout
        self._turn = Turn(soon) if soon is not None and sampler is None else None

    def gather_tensors(self, model: str, version: str | None, fail: Fail) -> Gather | None:
        """What gathers requests to `infer`, if anything does."""
        return self._gather(TENSORS, lambda: self._catalog.active(model, version), fail)

    def gather_rows(self, fail: Fail) -> Gather | None:
        """What gathers requests to `invoke`."""
        return self._gather(ROWS, self._only, fail)

    def _gather(self, form: Form, find: Find, fail: Fail) -> Gather | None:
        if self._turn is None:
            return None
        return Gather(form, find, fail, self._clock, self._timeout, self._turn)

    def _only(self) -> tuple[Dispatcher, Served]:
        return self._catalog.active(self._catalog.only(), None)

    def infer(self, exchange: Exchange, model: str, version: str | None, fail: Fail) -> None:
        """`POST /v2/models/{model}[/versions/{version}]/infer`."""
        dispatcher, served = self._catalog.active(model, version)
        reader = served.encoder.plain
        if reader is not None and binary.HEADER not in exchange.headers:
            matrix = reader.tensor(exchange.body)
            if matrix is not None:
                self._answer_plain(exchange, dispatcher, served, matrix, TENSORS, fail)
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
        dispatcher, served = self._only()
        reader = served.encoder.plain
        if reader is not None and exchange.headers.get(b"content-type", JSON) == JSON:
            matrix = reader.rows(exchange.body)
            if matrix is not None:
                self._answer_plain(exchange, dispatcher, served, matrix, ROWS, fail)
                return
        inputs = mlflow.read(exchange.body, media_type(exchange), served.signature)

        def reply(by: Served, result: Matrix) -> None:
            exchange.answer(200, by.template.predictions(result), headers=by.headers)

        work = self._work(exchange, served, inputs, self._timeout, reply, fail)
        self._submit(exchange, dispatcher, served, work)

    def _answer_plain(
        self,
        exchange: Exchange,
        dispatcher: Dispatcher,
        served: Served,
        matrix: Matrix,
        form: Form,
        fail: Fail,
    ) -> None:
        """Nothing of the request is left but its numbers."""

        def finish(work: Work) -> None:
            answer(exchange, work, form, fail, self._clock())

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
        work.pin.answered(work, self._clock())


def _read(exchange: Exchange, served: Served) -> InferRequest:
    length = exchange.headers.get(binary.HEADER)
    if length is None:
        return oip.parse(exchange.body)
    return binary.parse(exchange.body, length, served.signature)
