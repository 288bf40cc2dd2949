"""The application: finds what answers an exchange, and how errors look to clients."""

from __future__ import annotations

from collections.abc import Callable

from registry.logs import get_logger
from serving.errors import (
    SURPRISES,
    MethodNotAllowed,
    ModelFailed,
    RequestError,
    Unauthorized,
    UnknownPath,
)
from serving.gateway import trace
from serving.gateway.access import AccessLog
from serving.gateway.catalog import Catalog
from serving.gateway.content import unpack
from serving.gateway.exchange import JSON, Exchange
from serving.gateway.gather import Gather
from serving.gateway.inference import Inference
from serving.gateway.metrics import Metrics
from serving.gateway.routes.endpoint import Endpoint, encode
from serving.gateway.routes.mlflow import INVOCATIONS, MlflowRoutes
from serving.gateway.routes.oip import OipRoutes
from serving.gateway.routes.pages import PageRoutes
from serving.gateway.scraping import Scraping
from serving.gateway.state import State

log = get_logger(__name__)

#: Paths of models that are remembered.
MOST_PATHS = 256


class App:
    """Answers exchanges.

    `state` is asked for liveness and draining; see `State`. `look_again` asks the supervisor to
    read the alias of a model afresh. A body may hold `max_body` bytes once it is inflated.
    """

    def __init__(
        self,
        catalog: Catalog,
        inference: Inference,
        metrics: Metrics,
        state: State,
        look_again: Callable[[str], None],
        max_body: int,
        scraping: Scraping,
        access: AccessLog | None = None,
    ) -> None:
        self._metrics = metrics
        self._max_body = max_body
        self._access = access
        self._oip = OipRoutes(catalog, inference, state, self._fail, look_again)
        self._endpoints: dict[str, Endpoint] = {
            **PageRoutes(catalog, state, scraping, self._fail).endpoints,
            **MlflowRoutes(catalog, inference, state, self._fail).endpoints,
            **self._oip.endpoints,
        }
        #: Endpoints of paths that name a model, as they were found before.
        self._found: dict[str, Endpoint] = {}

    def handle(self, exchange: Exchange) -> None:
        """Answer an exchange, now or when its rows are computed. Never raises."""
        if self._access is not None:
            exchange.observer = self._access.watch()
        try:
            if exchange.fault is not None:
                self._fail(exchange, exchange.fault)
            else:
                self._route(exchange)
        except RequestError as error:
            self._fail(exchange, error)
        except Exception:
            # One request must not end the gateway.
            log.exception("request failed", path=exchange.path, **trace.fields(exchange.names))
            self._fail(exchange, ModelFailed("the request could not be answered"))

    def gather(self, exchange: Exchange) -> Gather | None:
        """What gathers requests with the head of this one, which has no body; None if nothing does."""
        try:
            gather = self._endpoint(exchange.path).gather
        except RequestError:
            return None
        watched = self._access is not None or exchange.authorization
        json = exchange.headers.get(b"content-type", JSON) == JSON
        return None if watched or not json else gather

    def _route(self, exchange: Exchange) -> None:
        if b"content-encoding" in exchange.headers:
            unpack(exchange, self._max_body)
        self._endpoint(exchange.path).answer(exchange)

    def _endpoint(self, path: str) -> Endpoint:
        path = path.rstrip("/") or "/"
        return self._endpoints.get(path) or self._found.get(path) or self._named(path)

    def _named(self, path: str) -> Endpoint:
        if path.startswith("/v2/"):
            if len(self._found) >= MOST_PATHS:
                self._found.clear()
            self._found[path] = self._oip.find(path)
            return self._found[path]
        raise UnknownPath("there is nothing at this path", "", "GET / lists what there is.")

    def _fail(self, exchange: Exchange, error: RequestError) -> None:
        self._metrics.add("request_failure_total", 1, (("status", str(error.status)),))
        if error.status in SURPRISES:
            text, names = str(error), trace.fields(exchange.names)
            log.warning("request not answered", status=error.status, reason=text, **names)
        headers = b""
        if error.retry_after is not None:
            headers = b"retry-after: %d\r\n" % error.retry_after
        if isinstance(error, MethodNotAllowed):
            headers = b"allow: %b\r\n" % error.why.encode()
        if isinstance(error, Unauthorized):
            headers = b'www-authenticate: Bearer realm="penstock"\r\n'
        if error.fatal:
            exchange.keep_alive = False
        # Whatever it says, something must go out: a client without an answer waits for ever.
        told = str(error).encode(errors="replace").decode()
        if exchange.path.rstrip("/") == INVOCATIONS:
            body = encode({"error_code": error.code, "message": told})
        else:
            body = encode({"error": told})
        exchange.answer(error.status, body, headers=headers)
