"""Work: one admitted request, from its encoded rows to its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from registry.models.signature import Matrix
from serving.errors import RequestError


class Stale(Exception):
    """What a stage made of rows is of no use to the generation that is to go on with them."""


class Target(Protocol):
    """The generation that rows are encoded for and dispatched to."""

    @property
    def encoding(self) -> str:
        """Equal for two generations whose rows are encoded alike."""

    def encode(self, source: Any) -> Matrix:
        """Encode a request again.

        Raises:
            RequestError: this signature does not accept it.
            Stale: a stage of this generation must see the request first.
        """


class Work:
    """A request between admission and its answer, or several that are answered together.

    `settle` ends it exactly once: with the rows in `result`, computed by `pin` alone, or with an
    `error`. What arrives for it later is dropped.
    """

    __slots__ = (
        "admitted",
        "course",
        "deadline",
        "dispatched",
        "encoding",
        "epoch",
        "error",
        "finish",
        "left",
        "matrix",
        "pin",
        "priority",
        "requests",
        "result",
        "rows",
        "settled",
        "source",
        "split",
        "suspect",
        "waiting",
    )

    def __init__(
        self,
        matrix: Matrix,
        encoding: str,
        source: Any,
        deadline: float,
        finish: Callable[[Work], None],
        priority: int = 1,
    ) -> None:
        self.matrix: Matrix | None = matrix
        self.encoding = encoding
        self.source = source
        self.deadline = deadline
        self.finish = finish
        self.priority = priority
        self.rows = len(matrix)
        self.left = self.rows
        self.waiting = 0
        self.epoch = 0
        self.pin: Any = None
        self.suspect = False
        self.settled = False
        self.result: Matrix | None = None
        self.error: RequestError | None = None
        #: How many requests this is; if several, what makes a work of each.
        self.requests = 1
        self.split: Callable[[], list[Work]] | None = None
        #: Whose part this is, if the model has stages.
        self.course: Any = None
        self.admitted = 0.0
        self.dispatched = 0.0

    def settle(self, error: RequestError | None = None) -> None:
        """End this work and tell whoever waits for it."""
        if self.settled:
            return
        self.settled = True
        self.error = error
        self.matrix = self.source = None
        self.finish(self)

    def cancel(self) -> None:
        """Forget this work: nobody waits for it any more, so nobody is told."""
        self.settled = True
        self.matrix = self.source = self.result = None

    def accept(self, start: int, rows: Matrix) -> None:
        """Take the computed rows that begin at `start`, for good; the last ones settle the work."""
        count = len(rows)
        if count == self.rows:
            self.result = rows
        else:
            if self.result is None:
                self.result = np.empty((self.rows, rows.shape[1]))
            self.result[start : start + count] = rows
        self.left -= count
        if self.left == 0:
            self.settle()

    def restart(self) -> None:
        """Forget what was computed: all rows must come from one generation."""
        self.epoch += 1
        self.left = self.rows
        self.result = None
        self.pin = None


class Span:
    """Consecutive rows of a work on their way to one batch.

    `alone` rows share a batch with nobody, because a batch that held them failed; `deaths` counts
    the workers that died while they were alone.
    """

    __slots__ = ("alone", "deaths", "epoch", "rows", "start", "stop", "work")

    def __init__(
        self, work: Work, start: int, stop: int, *, alone: bool = False, deaths: int = 0
    ) -> None:
        self.work = work
        self.start = start
        self.stop = stop
        self.rows = stop - start
        self.epoch = work.epoch
        self.alone = alone
        self.deaths = deaths

    @property
    def matrix(self) -> Matrix:
        """The rows, encoded."""
        whole = self.work.matrix
        assert whole is not None
        return whole if self.rows == self.work.rows else whole[self.start : self.stop]

    @property
    def live(self) -> bool:
        """Whether anybody still wants these rows."""
        return not self.work.settled and self.epoch == self.work.epoch

    def singles(self) -> list[Span]:
        """The same rows, each alone."""
        return [Span(self.work, row, row + 1, alone=True) for row in range(self.start, self.stop)]
