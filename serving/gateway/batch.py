"""A batch: rows for one buffer of a link, and the limits of what may wait for one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from registry.models.signature import Matrix
from serving.gateway.work import Span


@dataclass(frozen=True)
class Policy:
    """Limits of one model's queue: rows a batch, rows waiting, seconds a row may wait for more.

    `max_queue_wait`: seconds that a request may be expected to wait; 0: until its deadline.
    """

    max_batch_size: int = 64
    max_queue_rows: int = 4096
    max_queue_delay: float = 0.0
    max_queue_wait: float = 0.0


@dataclass
class Batch:
    """Rows for one buffer, all of one generation."""

    target: Any
    #: Rows that it may have.
    most: int = 64
    spans: list[Span] = field(default_factory=list)
    rows: int = 0
    started: float = 0.0
    #: Whether the worker had nothing else to do, so that the batch did not wait behind another.
    direct: bool = False
    #: The rows as they were lent: payloads that they point at stay where they are meanwhile.
    lent: list[Matrix] = field(default_factory=list)

    @property
    def lone(self) -> bool:
        """Whether it is one row of one request, so that it is clear whose fault something is."""
        return self.rows == 1 and self.spans[0].work.split is None

    def fill(self, buffer: Matrix) -> None:
        """Copy the rows into the first `rows` rows of `buffer`."""
        self.lent = [span.matrix for span in self.spans]
        np.concatenate(self.lent, out=buffer[: self.rows])

    def matrix(self) -> Matrix:
        """The rows."""
        if len(self.spans) == 1:
            return self.spans[0].matrix
        return np.concatenate([span.matrix for span in self.spans])

    def deadline(self) -> float:
        """When the most patient row stops waiting, in seconds of the batcher's clock."""
        return max(span.work.deadline for span in self.spans)
