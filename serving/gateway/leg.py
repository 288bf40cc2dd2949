"""A leg: where one generation takes requests at one place, with links to the processes there."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from registry.models.places import Leg as Place
from registry.models.places import Place as StagePlace
from registry.models.signature import Matrix
from registry.models.stages import StageUse
from serving.gateway.work import Stale
from serving.link import GatewayEnd

if TYPE_CHECKING:
    from serving.gateway.batch import Batch
    from serving.gateway.inline import Inline
    from serving.gateway.served import Served


class Leg(ABC):
    """Implements `work.Target`.

    `share`, from 0 to below 1, is where in the row of processes this gateway begins to look for an
    idle one: several gateways that began alike would all pick the same, and leave the rest.
    """

    place: Place
    #: Equal for two generations that take the same rows here.
    encoding: str
    #: The model in the gateway's own process, where that is allowed.
    inline: Inline | None = None

    def __init__(self, share: float) -> None:
        self.links: dict[int, GatewayEnd[Batch]] = {}
        self._share = share

    @property
    @abstractmethod
    def served(self) -> Served:
        """The generation."""

    @abstractmethod
    def encode(self, source: Any) -> Matrix:
        """The rows of a decoded request for this place. Raises RequestError, Stale."""

    @abstractmethod
    def count(self, rows: int, compute: float, handed: float | None) -> None:
        """Count a batch: seconds of its compute, and of handing it over where nothing was before it."""

    def join(self, process: int, link: GatewayEnd[Batch]) -> None:
        """Use a link to one more process."""
        order = sorted([*self.links, process])
        first = int(self._share * len(order))
        self.links[process] = link
        self.links = {number: self.links[number] for number in order[first:] + order[:first]}

    @property
    def busy(self) -> bool:
        """Whether a process still has a batch."""
        return any(link.loans for link in self.links.values())


class StageLeg(Leg):
    """A stage before or after the model of `served`."""

    def __init__(self, served: Served, place: StagePlace, use: StageUse, share: float) -> None:
        super().__init__(share)
        self.place = place
        self._served = served
        self.encoding = (
            digest("pre", use.inputs) if place == "pre" else digest("post", use.identity)
        )
        self._observe: Callable[[float], None] = served.tally.stage(place).observe

    @property
    def served(self) -> Served:
        """The generation."""
        return self._served

    def encode(self, source: Any) -> Matrix:
        """The rows of a request for the stage before the model. Raises RequestError, Stale."""
        if self.place == "post":
            raise Stale
        return self._served.rows_of(request_of(source, self._served))

    def count(self, rows: int, compute: float, handed: float | None) -> None:  # noqa: ARG002
        """Count a batch."""
        self._observe(compute)


class Made:
    """The source of rows that a stage or a model made: only the way from its beginning leads there."""

    def encode(self, encoder: Any) -> Matrix:  # noqa: ARG002 - stands in for `gateway.inputs`
        """Raises Stale."""
        raise Stale


class Begun:
    """The source of rows that are at the beginning of their way through stages."""

    def __init__(self, request: Any) -> None:
        self.request = request


def request_of(source: Any, served: Served) -> Any:
    """The request that a queue has for `served`. Raises Stale if it is not at its beginning there."""
    if isinstance(source, Begun):
        return source.request
    if served.staged:
        raise Stale
    return source


def digest(*parts: Any) -> str:
    """A text that is equal for equal parts."""
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()
