"""What a gateway of any kind is made of, and what a kind adds to it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from serving.gateway.catalog import Catalog
from serving.gateway.doorkeeper import Doorkeeper
from serving.gateway.metrics import Metrics
from serving.gateway.sampler import Sampler
from serving.gateway.scraping import Scraping
from serving.gateway.state import State
from serving.options import Options


@dataclass(frozen=True)
class Parts:
    """`clock` gives seconds; `look_again` asks the supervisor to read a model's alias afresh."""

    options: Options
    catalog: Catalog
    metrics: Metrics
    scraping: Scraping
    state: State
    door: Doorkeeper
    clock: Callable[[], float]
    look_again: Callable[[str], None]
    #: Tells the request log of requests, if there is one.
    sampler: Sampler | None = None


class Entrance(Protocol):
    """How clients get in, by one protocol."""

    #: Set while draining: connections are to end with their next answer.
    closing: bool

    async def open(self, listener: socket.socket) -> None:
        """Accept clients where `listener` is bound."""

    async def close(self) -> None:
        """Accept nothing more; returns when every request has had its answer."""

    def check_time(self) -> None:
        """Give up on slow clients, follow what is renewed; called about once a second."""
