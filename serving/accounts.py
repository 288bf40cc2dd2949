"""What gateways report about themselves, and what they are told when somebody scrapes one."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable
from typing import Any

from serving.children import Child
from serving.errors import ChildDied
from serving.exposition import Values, render
from serving.ledger import Ledger
from serving.messages import Counts, Notice, Scrape, Scraped

Receive = Callable[[Any], None]
End = Callable[[], None]


class Accounts:
    """Keeps the ledger. `gauges` gives what is read at the moment of a scrape."""

    def __init__(self, gauges: Callable[[], Values]) -> None:
        self.ledger = Ledger()
        self._gauges = gauges
        self._numbers = itertools.count(1)

    def around(self, child: Child, receive: Receive, end: End) -> tuple[Receive, End]:
        """Listen to a gateway as well: what is not meant for the accounts goes to `receive`."""
        number = next(self._numbers)

        def take(message: Any) -> None:
            if isinstance(message, Counts):
                self._note(number, message)
            elif isinstance(message, Scrape):
                self._answer(child, message)
            else:
                receive(message)

        def ended() -> None:
            self.ledger.end(number)
            end()

        return take, ended

    def _note(self, number: int, counts: Counts) -> None:
        values = {(name, labels): numbers for name, labels, numbers in counts.series}
        if counts.final:
            self.ledger.settle(number, values)
        else:
            self.ledger.report(number, values)

    def _answer(self, child: Child, scrape: Scrape) -> None:
        text = render({**self.ledger.values(), **self._gauges()}).encode()
        # In a file of its own: a channel takes messages of 64 KiB at most.
        descriptor = os.memfd_create("scrape", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file, contextlib.suppress(ChildDied):
            file.write(text)
            file.flush()
            child.send(Scraped(scrape.number), [descriptor])

    def reloaded(self, notice: Notice, stages: list[tuple[str, float]]) -> None:
        """Count a reload that has ended, and the seconds of each of its stages."""
        own = self.ledger.own
        own.add("reload_total", 1, (("model", notice.model), ("result", notice.result)))
        for stage, seconds in stages:
            labels = (("model", notice.model), ("stage", stage))
            own.observe("reload_stage_duration_seconds", seconds, labels)
