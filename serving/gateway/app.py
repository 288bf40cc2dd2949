"""The application: which path does what, and how errors look to clients."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from urllib.parse import unquote

import msgspec

from registry.logs import get_logger
from serving.errors import (
    MethodNotAllowed,
    ModelFailed,
    Overloaded,
    RequestError,
    Unauthorized,
    UnknownPath,
    UnsupportedMedia,
)
from serving.gateway import page
from serving.gateway.catalog import Catalog
from serving.gateway.exchange import HTML, TEXT, Exchange
from serving.gateway.inference import Inference
from serving.gateway.metrics import Metrics
from serving.gateway.protocols import mlflow, oip
from serving.gateway.state import State

log = get_logger(__name__)

#: What is answered to `GET /v2`. An extension is named here only once it is built.
SERVER = {"name": "penstock", "version": version("penstock"), "extensions": []}
_json = msgspec.json.Encoder().encode

Route = Callable[[Exchange], None]


class App:
    """Answers exchanges. `state` is asked for liveness and draining; see `State`."""

    def __init__(
        self, catalog: Catalog, inference: Inference, metrics: Metrics, state: State
    ) -> None:
        self._catalog = catalog
        self._inference = inference
        self._metrics = metrics
        self._state = state
        self._reads: dict[str, Route] = {
            "/": self._page,
            "/v2": self._server,
            "/v2/health/live": self._live,
            "/v2/health/ready": self._ready,
            "/ping": self._ping,
            "/health": self._ping,
            "/version": self._version,
            "/metrics": self._scrape,
        }

    def handle(self, exchange: Exchange) -> None:
        """Answer an exchange, now or when its rows are computed. Never raises."""
        try:
            if exchange.fault is not None:
                self._fail(exchange, exchange.fault)
            else:
                self._route(exchange)
        except RequestError as error:
            self._fail(exchange, error)
        except Exception:
            # One request must not end the gateway.
            log.exception("request failed", path=exchange.path)
            self._fail(exchange, ModelFailed("the request could not be answered"))

    def _route(self, exchange: Exchange) -> None:
        path = exchange.path.rstrip("/") or "/"
        if exchange.encoding not in (b"", b"identity"):
            raise UnsupportedMedia("the body is compressed", "only identity is read")
        if path == "/invocations":
            _check_method(exchange, b"POST")
            self._inference.invoke(exchange, self._fail)
        elif path.startswith("/v2/models/"):
            self._model(exchange, path)
        elif route := self._reads.get(path):
            _check_method(exchange, b"GET")
            route(exchange)
        else:
            raise UnknownPath("there is nothing at this path", "", "GET / lists what there is.")

    def _model(self, exchange: Exchange, path: str) -> None:
        """`/v2/models/{model}[/versions/{version}][/infer|/ready]`."""
        parts = [unquote(part) if "%" in part else part for part in path.split("/")[3:]]
        model, rest = parts[0], parts[1:]
        wanted = None
        if rest[:1] == ["versions"] and len(rest) > 1:
            wanted, rest = rest[1], rest[2:]
        if rest == ["infer"]:
            _check_method(exchange, b"POST")
            self._inference.infer(exchange, model, wanted, self._fail)
            return
        _check_method(exchange, b"GET")
        if rest == ["ready"]:
            self._model_ready(exchange, model, wanted)
        elif not rest:
            exchange.answer(200, oip.metadata(self._catalog.active(model, wanted)[1]))
        else:
            raise UnknownPath("there is nothing at this path")

    # what is read -----------------------------------------------------------------------------

    def _page(self, exchange: Exchange) -> None:
        body = page.render(self._catalog, self._state)
        exchange.answer(200, body, HTML, b"x-content-type-options: nosniff\r\n")

    def _server(self, exchange: Exchange) -> None:
        exchange.answer(200, _json(SERVER))

    def _live(self, exchange: Exchange) -> None:
        if not self._state.live:
            raise Overloaded("the supervisor does not answer")
        exchange.answer(200, b'{"live":true}')

    def _ready(self, exchange: Exchange) -> None:
        self._check_ready()
        exchange.answer(200, b'{"ready":true}')

    def _check_ready(self) -> None:
        if self._state.draining:
            raise Overloaded("the service is shutting down")
        if not self._catalog.ready:
            waiting = ", ".join(d.model for d in self._catalog if not d.ready)
            raise Overloaded("not every model is ready", waiting)

    def _model_ready(self, exchange: Exchange, model: str, wanted: str | None) -> None:
        dispatcher, _ = self._catalog.active(model, wanted)
        if not dispatcher.ready or self._state.draining:
            raise Overloaded(f"the model {model} is not ready")
        exchange.answer(200, _json({"name": model, "ready": True}))

    def _ping(self, exchange: Exchange) -> None:
        self._check_ready()
        exchange.answer(200, b"\n", TEXT)

    def _version(self, exchange: Exchange) -> None:
        exchange.answer(200, mlflow.VERSION.encode(), TEXT)

    def _scrape(self, exchange: Exchange) -> None:
        text = self._metrics.render().encode()
        exchange.answer(200, text, b"text/plain; version=0.0.4; charset=utf-8")

    # what goes wrong --------------------------------------------------------------------------

    def _fail(self, exchange: Exchange, error: RequestError) -> None:
        self._metrics.add("request_failure_total", 1, (("status", str(error.status)),))
        headers = b""
        if error.retry_after is not None:
            headers = b"retry-after: %d\r\n" % error.retry_after
        if isinstance(error, MethodNotAllowed):
            headers = b"allow: %b\r\n" % error.why.encode()
        if isinstance(error, Unauthorized):
            headers = b'www-authenticate: Bearer realm="penstock"\r\n'
        if error.fatal:
            exchange.keep_alive = False
        if exchange.path.rstrip("/") == "/invocations":
            body = _json({"error_code": error.code, "message": str(error)})
        else:
            body = _json({"error": str(error)})
        exchange.answer(error.status, body, headers=headers)


def _check_method(exchange: Exchange, allowed: bytes) -> None:
    if exchange.method == allowed or (exchange.method == b"HEAD" and allowed == b"GET"):
        return
    raise MethodNotAllowed(
        "the method is not allowed here", "GET, HEAD" if allowed == b"GET" else "POST"
    )
