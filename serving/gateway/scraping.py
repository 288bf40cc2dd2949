"""A gateway's side of the accounts: reports its counts, and answers a scrape with everybody's."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Iterator

from serving.errors import Overloaded, RequestError
from serving.exposition import Labels, Values
from serving.gateway.exchange import Exchange
from serving.gateway.metrics import Metrics
from serving.messages import Counts, Message, Scrape

#: Series that fit into one message with the longest names that there are.
SERIES = 60
#: Seconds in which the supervisor must answer a scrape, and how many may wait for it.
PATIENCE, WAITING = 5.0, 16
TYPE = b"text/plain; version=0.0.4; charset=utf-8"

Fail = Callable[[Exchange, RequestError], None]


class Scraping:
    """Speaks for one gateway; `send` sends a message to the supervisor."""

    def __init__(self, metrics: Metrics, send: Callable[[Message], None]) -> None:
        self._metrics = metrics
        self._send = send
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Callable[[bytes | None], None]] = {}

    def report(self) -> None:
        """Say what was counted so far. Called when the supervisor shows that it listens."""
        for series in _chunks(self._metrics.values()):
            self._send(Counts(series))

    def forget(self, labels: Labels) -> None:
        """Say for the last time what was counted under these labels."""
        for series in _chunks(self._metrics.forget(labels)):
            self._send(Counts(series, final=True))

    def ask(self, exchange: Exchange, fail: Fail) -> None:
        """Answer an exchange with what the whole service has counted.

        Raises:
            Overloaded: many wait for the same already.
        """
        if len(self._waiting) >= WAITING:
            raise Overloaded("too many ask for metrics at once")
        number = next(self._numbers)
        timer = asyncio.get_running_loop().call_later(PATIENCE, lambda: self._end(number, None))

        def answer(text: bytes | None) -> None:
            timer.cancel()
            if text is None:
                fail(exchange, Overloaded("the supervisor does not answer"))
            else:
                exchange.answer(200, text, TYPE)

        self._waiting[number] = answer
        exchange.cancelled = lambda: self._drop(number, timer)
        self.report()
        self._send(Scrape(number))

    def scraped(self, number: int, descriptor: int) -> None:
        """The supervisor's answer lies in a file, which is closed here."""
        with os.fdopen(descriptor, "rb") as file:
            file.seek(0)
            self._end(number, file.read())

    def _end(self, number: int, text: bytes | None) -> None:
        answer = self._waiting.pop(number, None)
        if answer is not None:
            answer(text)

    def _drop(self, number: int, timer: asyncio.TimerHandle) -> None:
        timer.cancel()
        self._waiting.pop(number, None)


def _chunks(values: Values) -> Iterator[list[tuple[str, Labels, list[float]]]]:
    series = [(name, labels, numbers) for (name, labels), numbers in values.items()]
    for start in range(0, len(series), SERIES):
        yield series[start : start + SERIES]
