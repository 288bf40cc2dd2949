"""From a request for predictions to its answer, in either protocol."""

from __future__ import annotations

from collections.abc import Callable

from registry.models.signature import Matrix
from serving.errors import RequestError
from serving.gateway.catalog import Catalog
from serving.gateway.dispatch import Dispatcher
from serving.gateway.exchange import Exchange
from serving.gateway.inputs import Inputs
from serving.gateway.metrics import Metrics
from serving.gateway.protocols import mlflow, oip
from serving.gateway.served import Served
from serving.gateway.work import Work

Render = Callable[[Served, Matrix], bytes]
Fail = Callable[[Exchange, RequestError], None]


class Inference:
    """Admits requests and answers them when their rows are computed."""

    def __init__(
        self, catalog: Catalog, metrics: Metrics, clock: Callable[[], float], timeout: float
    ) -> None:
        self._catalog = catalog
        self._metrics = metrics
        self._clock = clock
        self._timeout = timeout

    def infer(self, exchange: Exchange, model: str, version: str | None, fail: Fail) -> None:
        """`POST /v2/models/{model}[/versions/{version}]/infer`."""
        dispatcher, served = self._catalog.active(model, version)
        request = oip.parse(exchange.body)
        oip.check_outputs(request, served.signature)

        def render(by: Served, result: Matrix) -> bytes:
            return oip.answer(by, request, result)

        inputs = oip.inputs_of(request, served.encoder)
        timeout = min(request.timeout or self._timeout, self._timeout)
        work = self._work(exchange, served, inputs, timeout, render, fail)
        work.priority = request.priority
        self._submit(exchange, dispatcher, work)

    def invoke(self, exchange: Exchange, fail: Fail) -> None:
        """`POST /invocations`."""
        dispatcher, served = self._catalog.active(self._catalog.only(), None)
        inputs = mlflow.inputs_of(mlflow.parse(exchange.body), served.signature)
        work = self._work(exchange, served, inputs, self._timeout, mlflow.answer, fail)
        self._submit(exchange, dispatcher, work)

    def _submit(self, exchange: Exchange, dispatcher: Dispatcher, work: Work) -> None:
        dispatcher.submit(work)
        exchange.cancelled = lambda: dispatcher.cancel(work)

    def _work(
        self,
        exchange: Exchange,
        served: Served,
        inputs: Inputs,
        timeout: float,
        render: Render,
        fail: Fail,
    ) -> Work:
        def finish(work: Work) -> None:
            if work.error is not None or work.result is None:
                fail(exchange, work.error or RequestError("the request was dropped"))
                return
            self._count(work)
            by: Served = work.pin
            exchange.answer(200, render(by, work.result), headers=by.headers)

        matrix = served.encode(inputs)
        return Work(matrix, served.encoding, inputs, self._clock() + timeout, finish)

    def _count(self, work: Work) -> None:
        labels = work.pin.labels
        now = self._clock()
        add = self._metrics.add
        add("request_success_total", 1, labels)
        add("request_duration_us_total", (now - work.admitted) * 1e6, labels)
        add("queue_duration_us_total", (work.dispatched - work.admitted) * 1e6, labels)
