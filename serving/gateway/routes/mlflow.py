"""The paths that MLflow's scoring server has."""

from __future__ import annotations

from functools import partial

from serving.gateway.catalog import Catalog
from serving.gateway.exchange import TEXT, Exchange
from serving.gateway.group import Fail
from serving.gateway.inference import Inference
from serving.gateway.protocols import mlflow
from serving.gateway.routes.endpoint import Endpoint
from serving.gateway.state import State

INVOCATIONS = "/invocations"


class MlflowRoutes:
    """Answers `/invocations` and the health checks that come with it."""

    def __init__(self, catalog: Catalog, inference: Inference, state: State, fail: Fail) -> None:
        self._catalog = catalog
        self._state = state
        self.endpoints = {
            INVOCATIONS: Endpoint(
                b"POST", partial(inference.invoke, fail=fail), inference.gather_rows(fail)
            ),
            "/ping": Endpoint(b"GET", self._ping),
            "/health": Endpoint(b"GET", self._ping),
            "/version": Endpoint(b"GET", self._version),
        }

    def _ping(self, exchange: Exchange) -> None:
        self._catalog.check_ready(draining=self._state.draining)
        exchange.answer(200, b"\n", TEXT)

    def _version(self, exchange: Exchange) -> None:
        exchange.answer(200, mlflow.VERSION.encode(), TEXT)
