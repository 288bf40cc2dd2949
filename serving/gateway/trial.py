"""The trial: how the first requests of a generation went, for the supervisor to judge."""

from __future__ import annotations

from serving.errors import DeadlinePassed, ModelFailed
from serving.gateway.work import Work


class Trial:
    """Counts the first `requests`. One is bad that the model failed, or that took `slow` seconds.

    With 0 `slow`, none is too slow. What a client did wrong is no fault of the model.
    """

    def __init__(self, requests: int, slow: float = 0.0) -> None:
        self._left = requests
        self._slow = slow
        self._requests = 0
        self._bad = 0

    @property
    def over(self) -> bool:
        """Whether enough was seen."""
        return self._left == 0

    def count(self, work: Work, now: float) -> None:
        """Take note of a work that is settled."""
        requests = min(work.requests, self._left)
        self._left -= requests
        self._requests += requests
        late = bool(self._slow) and now - work.admitted > self._slow
        if late or isinstance(work.error, (ModelFailed, DeadlinePassed)):
            self._bad += requests

    def news(self) -> tuple[int, int]:
        """Requests, and bad ones among them, since this was last asked."""
        news = (self._requests, self._bad)
        self._requests = self._bad = 0
        return news
