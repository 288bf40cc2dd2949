"""Admission: whether a request would wait too long, judged when it arrives.

A queue that only has a length answers an overload late: what it takes then waits its whole length,
and expires there or is answered when nobody needs it. So a request is refused at once where the
batches before it would take longer than it may wait (load shedding; "Using load shedding to avoid
overload", Amazon Builders' Library; CoDel judges by time in the queue rather than length, too).
"""

from __future__ import annotations

from serving.errors import Overloaded

#: How far one batch moves what is known of their duration.
_WEIGHT = 0.2


class Admission:
    """The time that a new row of one model would wait, from the batches that were computed of late.

    `max_wait` is in seconds; 0 leaves the deadlines of the requests as the only limit.
    """

    def __init__(self, max_wait: float, max_batch_size: int) -> None:
        self._max_wait = max_wait
        self._max_batch_size = max_batch_size
        #: Seconds that a worker takes for a batch, of late; 0 until one was computed.
        self.pace = 0.0

    def forget(self) -> None:
        """Another model answers from now on."""
        self.pace = 0.0

    def computed(self, seconds: float) -> None:
        """Note how long a worker took for a batch."""
        self.pace += (seconds - self.pace) * (_WEIGHT if self.pace else 1.0)

    def wait(self, rows: int, batches: int, workers: int) -> float:
        """Seconds until a worker begins with a new row, behind waiting `rows` and lent `batches`."""
        if batches < workers and rows < self._max_batch_size:
            return 0.0
        ahead = batches + rows // self._max_batch_size
        return self.pace * ahead / max(1, workers)

    def check(self, rows: int, batches: int, workers: int, patience: float) -> None:
        """Refuse what would wait too long, or begin after its deadline, in `patience` seconds.

        Raises:
            Overloaded: it would.
        """
        limit = min(self._max_wait, patience) if self._max_wait else patience
        if self.wait(rows, batches, workers) > max(0.0, limit):
            raise Overloaded("the queue of this model is too long", "", "Try again later.")
