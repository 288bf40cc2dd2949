"""The course of one request through a model with stages: a part of it waits at one place at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from registry.models.places import Leg as Place
from serving.gateway.leg import Begun, Leg, Made
from serving.gateway.work import Work

_MADE = Made()

#: Puts a part into the queue of a place; the text says which.
Enter = Callable[[Work, Leg], None]


class Course:
    """Takes the `whole` request from leg to leg.

    What a leg made goes on to the next of the *same* generation, or to one of a newer that takes the
    same there. Where the newer one takes something else the request begins again, with the rows that
    it came with. Its answer names the generation whose model it saw.
    """

    def __init__(self, whole: Work, enter: Enter, settled: Callable[[Course], None]) -> None:
        self.whole = whole
        #: What is under way, and where.
        self.part: Work | None = None
        self.place: Place = "model"
        self._enter = enter
        self._settled = settled

    def begin(self, leg: Leg) -> None:
        """Start, or start again, at the first leg of a generation."""
        whole = self.whole
        whole.pin = None
        self._go(whole.matrix, whole.encoding, Begun(whole.source), leg)

    def _go(self, rows: Any, encoding: str, source: Any, leg: Leg) -> None:
        whole = self.whole
        self.part = Work(rows, encoding, source, whole.deadline, self._left, whole.priority)
        self.part.course = self
        self.place = leg.place
        self._enter(self.part, leg)

    def _left(self, part: Work) -> None:
        """A leg is done with a part: on to the next, or the end."""
        whole, leg = self.whole, part.pin
        if not whole.dispatched:
            whole.dispatched = part.dispatched
        if leg is not None and (leg.place == "model" or whole.pin is None):
            whole.pin = leg.served
        if part.error is None:
            onward = leg.served.after(leg.place)
            if onward is not None:
                self._go(part.result, onward.encoding, _MADE, onward)
                return
            whole.result = part.result
        self.part = None
        whole.settle(part.error)
        self._settled(self)
