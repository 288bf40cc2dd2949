"""The paths of the Open Inference Protocol below `/v2`, and of the extensions that are there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from urllib.parse import unquote

from serving.errors import UnknownPath
from serving.gateway.catalog import Catalog
from serving.gateway.exchange import Exchange
from serving.gateway.group import Fail
from serving.gateway.inference import Inference
from serving.gateway.protocols import metadata, repository, statistics
from serving.gateway.routes.endpoint import Endpoint, encode
from serving.gateway.state import State

#: What is answered to `GET /v2`. An extension is named here only once it is built.
SERVER = {
    "name": "penstock",
    "version": version("penstock"),
    "extensions": [
        "binary_tensor_data",
        "model_configuration",
        "model_repository",
        "schedule_policy",
        "statistics",
    ],
}


class OipRoutes:
    """Answers below `/v2`. `look_again` asks the supervisor to read the alias of a model afresh."""

    def __init__(
        self,
        catalog: Catalog,
        inference: Inference,
        state: State,
        fail: Fail,
        look_again: Callable[[str], None],
    ) -> None:
        self._catalog = catalog
        self._inference = inference
        self._state = state
        self._fail = fail
        self._look_again = look_again
        self.endpoints = {
            "/v2": Endpoint(b"GET", self._server),
            "/v2/health/live": Endpoint(b"GET", self._live),
            "/v2/health/ready": Endpoint(b"GET", self._ready),
            "/v2/models/stats": Endpoint(b"GET", self._all_statistics),
            "/v2/repository/index": Endpoint(b"POST", self._index),
        }

    def find(self, path: str) -> Endpoint:
        """The endpoint of a path that names a model. Raises UnknownPath."""
        parts = [unquote(part) if "%" in part else part for part in path.split("/")[2:]]
        if parts[0] == "models" and len(parts) > 1:
            return self._of_model(parts[1], parts[2:])
        if parts[:2] == ["repository", "models"] and len(parts) == 4:
            return self._of_repository(parts[2], parts[3])
        raise UnknownPath("there is nothing at this path", "", "GET / lists what there is.")

    def _of_model(self, model: str, rest: list[str]) -> Endpoint:
        """`/v2/models/{model}[/versions/{version}][/infer|/ready|/config|/stats]`."""
        wanted = None
        if rest[:1] == ["versions"] and len(rest) > 1:
            wanted, rest = rest[1], rest[2:]
        if rest == ["infer"]:
            infer = partial(self._inference.infer, model=model, version=wanted, fail=self._fail)
            return Endpoint(
                b"POST", infer, self._inference.gather_tensors(model, wanted, self._fail)
            )
        reads = {
            (): self._metadata,
            ("ready",): self._model_ready,
            ("config",): self._config,
            ("stats",): self._statistics,
        }
        read = reads.get(tuple(rest))
        if read is None:
            raise UnknownPath("there is nothing at this path")
        return Endpoint(b"GET", partial(read, model=model, wanted=wanted))

    def _of_repository(self, model: str, action: str) -> Endpoint:
        if action == "load":
            return Endpoint(b"POST", partial(self._load, model=model))
        if action == "unload":
            return Endpoint(b"POST", partial(self._unload, model=model))
        raise UnknownPath("there is nothing at this path")

    # the server -------------------------------------------------------------------------------

    def _server(self, exchange: Exchange) -> None:
        exchange.answer(200, encode(SERVER))

    def _live(self, exchange: Exchange) -> None:
        self._state.check_live()
        exchange.answer(200, b'{"live":true}')

    def _ready(self, exchange: Exchange) -> None:
        self._catalog.check_ready(draining=self._state.draining)
        exchange.answer(200, b'{"ready":true}')

    # one model --------------------------------------------------------------------------------

    def _metadata(self, exchange: Exchange, model: str, wanted: str | None) -> None:
        exchange.answer(200, metadata.model(self._catalog.active(model, wanted)[1]))

    def _config(self, exchange: Exchange, model: str, wanted: str | None) -> None:
        exchange.answer(200, metadata.config(self._catalog.active(model, wanted)[1]))

    def _model_ready(self, exchange: Exchange, model: str, wanted: str | None) -> None:
        dispatcher, _ = self._catalog.active(model, wanted)
        dispatcher.check_ready(draining=self._state.draining)
        exchange.answer(200, encode({"name": model, "ready": True}))

    def _statistics(self, exchange: Exchange, model: str, wanted: str | None) -> None:
        _, served = self._catalog.active(model, wanted)
        exchange.answer(200, statistics.answer([served]))

    def _all_statistics(self, exchange: Exchange) -> None:
        serving = [dispatcher.active for dispatcher in self._catalog if dispatcher.active]
        exchange.answer(200, statistics.answer(serving))

    # the repository ---------------------------------------------------------------------------

    def _index(self, exchange: Exchange) -> None:
        only_ready = repository.only_ready(exchange.body)
        exchange.answer(200, repository.index(self._catalog, only_ready=only_ready))

    def _load(self, exchange: Exchange, model: str) -> None:
        self._catalog.find(model)
        repository.check_load(exchange.body)
        self._look_again(model)
        exchange.answer(200, b"{}")

    def _unload(self, exchange: Exchange, model: str) -> None:  # noqa: ARG002 - an endpoint
        self._catalog.find(model)
        repository.refuse_unload()
