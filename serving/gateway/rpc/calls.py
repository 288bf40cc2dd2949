"""The calls that ask about the server and its models. What they tell is what HTTP tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from google.protobuf import json_format

from serving.errors import RequestError
from serving.gateway.parts import Parts
from serving.gateway.protocols import metadata, repository, statistics
from serving.gateway.routes.oip import SERVER
from serving.gateway.rpc.schema import response_of
from serving.gateway.rpc.translate import values_of

Call = Callable[[Any], Any]


class Calls:
    """Answers by the name of the call; each takes a request and may raise RequestError."""

    def __init__(self, parts: Parts) -> None:
        self._catalog = parts.catalog
        self._state = parts.state
        self._look_again = parts.look_again
        self.by_name: dict[str, Call] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server,
            "ModelMetadata": self._metadata,
            "ModelConfig": self._config,
            "ModelStatistics": self._statistics,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }

    def _live(self, _: Any) -> Any:
        return response_of("ServerLive")(live=self._state.live)

    def _ready(self, _: Any) -> Any:
        ready = self._catalog.ready and not self._state.draining
        return response_of("ServerReady")(ready=ready)

    def _model_ready(self, request: Any) -> Any:
        try:
            dispatcher, _ = self._catalog.active(request.name, request.version or None)
            dispatcher.check_ready(draining=self._state.draining)
        except RequestError:
            return response_of("ModelReady")(ready=False)
        return response_of("ModelReady")(ready=True)

    def _server(self, _: Any) -> Any:
        return response_of("ServerMetadata")(**SERVER)

    def _metadata(self, request: Any) -> Any:
        _, served = self._catalog.active(request.name, request.version or None)
        return json_format.Parse(metadata.model(served), response_of("ModelMetadata")())

    def _config(self, request: Any) -> Any:
        _, served = self._catalog.active(request.name, request.version or None)
        response = response_of("ModelConfig")()
        json_format.Parse(metadata.config(served), response.config)
        return response

    def _statistics(self, request: Any) -> Any:
        if request.name:
            models = [self._catalog.active(request.name, request.version or None)[1]]
        else:
            models = [dispatcher.active for dispatcher in self._catalog if dispatcher.active]
        told = statistics.answer(models)
        return json_format.Parse(told, response_of("ModelStatistics")())

    def _index(self, request: Any) -> Any:
        models = msgspec.json.decode(repository.index(self._catalog, only_ready=request.ready))
        return response_of("RepositoryIndex")(models=models)

    def _load(self, request: Any) -> Any:
        self._catalog.find(request.model_name)
        repository.check_parameters(values_of(request.parameters))
        self._look_again(request.model_name)
        return response_of("RepositoryModelLoad")()

    def _unload(self, request: Any) -> Any:
        self._catalog.find(request.model_name)
        repository.refuse_unload()
