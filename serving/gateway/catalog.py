"""The models of one gateway: their dispatchers, and how their last reload ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from serving.errors import Overloaded, RequestError, UnknownPath
from serving.gateway.batch import Policy
from serving.gateway.dispatch import Dispatcher
from serving.gateway.served import Served
from serving.gateway.watchdog import Watchdog
from serving.messages import Notice
from serving.options import Options


class Catalog:
    """Dispatchers by model name. Every model that the service was started for is in it."""

    def __init__(
        self,
        models: list[str],
        options: Options,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
    ) -> None:
        policy = Policy(
            options.max_batch_size, options.max_queue_rows,
            options.max_queue_delay_ms / 1e3, options.max_queue_wait_ms / 1e3,
        )  # fmt: skip
        self._dispatchers = {
            model: Dispatcher(model, policy, loop, clock, Watchdog(options.batch_timeout))
            for model in models
        }
        self.notices: dict[str, Notice] = {}

    def __iter__(self) -> Iterator[Dispatcher]:
        return iter(self._dispatchers.values())

    def find(self, model: str) -> Dispatcher:
        """The dispatcher of a model. Raises UnknownPath."""
        try:
            return self._dispatchers[model]
        except KeyError:
            known = ", ".join(self._dispatchers)
            raise UnknownPath(f"there is no model {model[:80]!r}", f"known are {known}") from None

    def active(self, model: str, version: str | None) -> tuple[Dispatcher, Served]:
        """The dispatcher and the active generation that a request means.

        Raises:
            UnknownPath: no such model, or the version is not the one that is live.
            Overloaded: the model has no generation yet.
        """
        dispatcher = self.find(model)
        served = dispatcher.active
        if served is None:
            raise Overloaded(f"the model {model} has no version that is ready yet")
        if version is not None and not served.names(version):
            raise UnknownPath(f"version {version[:80]!r} of {model} is not live here")
        return dispatcher, served

    def only(self) -> str:
        """The name of the model that paths without a name mean. Raises RequestError."""
        if len(self._dispatchers) != 1:
            names = ", ".join(self._dispatchers)
            raise RequestError(
                "this service has several models",
                names,
                "Name one: POST /v2/models/<model>/infer.",
            )
        return next(iter(self._dispatchers))

    @property
    def ready(self) -> bool:
        """Whether every model can answer."""
        return all(dispatcher.ready for dispatcher in self)

    def check_ready(self, *, draining: bool) -> None:
        """Raise Overloaded unless every model can answer and the service is not `draining`."""
        if draining:
            raise Overloaded("the service is shutting down")
        if not self.ready:
            waiting = ", ".join(dispatcher.model for dispatcher in self if not dispatcher.ready)
            raise Overloaded("not every model is ready", waiting)
