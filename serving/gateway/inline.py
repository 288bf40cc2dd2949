"""Inline scoring: few rows are predicted by the gateway itself, while no worker has anything to do.

Waking a worker and being woken by it costs many times what a quick forest takes for a row. Only the
native evaluator of `registry.models.forest` runs here: it reads an image that was checked, holds no
state, and is the same for every model. LightGBM's and CatBoost's libraries, and what a use case wrote,
stay in processes whose end costs no connection.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from registry.logs import get_logger
from registry.models.bundle import Bundle
from registry.models.predictor import images_of, open_shared
from registry.models.protocol import Predictor
from registry.models.signature import Matrix
from registry.settings import Settings

log = get_logger(__name__)

#: Seconds that rows may be expected to take: the gateway does nothing else meanwhile.
LONGEST = 0.00015
#: How far one prediction moves what is known of their duration.
_WEIGHT = 0.2


class Inline:
    """The model of one generation in this process, for up to `most` rows at once.

    `load` gives its predictor, or None where workers must do it all. Nothing is taken before `open`
    was called, nor before a worker has predicted as few rows in good time.
    """

    def __init__(self, load: Callable[[], Predictor | None], most: int) -> None:
        self.most = most
        #: Seconds that a row takes, of late; None until few were predicted.
        self.pace: float | None = None
        self._load = load
        self._predictor: Predictor | None = None
        self._closed = False
        self._lock = threading.Lock()

    @classmethod
    def of(cls, bundle: Bundle, most: int) -> Inline | None:
        """For the model of a bundle; None where that is not to run in a gateway."""
        settings = Settings.load()
        fit = bundle.flavor == "lightgbm" and not bundle.header.stages.places
        if not most or not fit or not settings.forest:
            return None
        return cls(lambda: open_shared(bundle, images_of(settings)), most)

    def open(self) -> None:
        """Load. For a thread of its own: it takes as long as reading the model does."""
        try:
            predictor = self._load()
        except Exception as error:  # noqa: BLE001 - whatever it is, the workers do without
            log.warning("a gateway leaves a model to its workers", reason=repr(error))
            return
        if predictor is None:
            reason = "no process has put an image of it into PENSTOCK_VAR"
            log.info("a gateway leaves a model to its workers", reason=reason)
            return
        with self._lock:
            self._predictor = predictor
            if self._closed:
                self._let_go()

    def close(self) -> None:
        """Let go of the model; nothing is taken any more."""
        with self._lock:
            self._closed = True
            self._let_go()

    def _let_go(self) -> None:
        predictor, self._predictor = self._predictor, None
        if predictor is not None:
            predictor.close()

    def note(self, rows: int, seconds: float) -> None:
        """Learn from a batch that was predicted, here or by a worker."""
        if rows > self.most:
            return  # many rows at once cost less each
        # What was held up once is no slow model, so it counts as little more than one.
        latest = min(seconds / rows, 2 * LONGEST)
        self.pace = latest if self.pace is None else self.pace + (latest - self.pace) * _WEIGHT

    def takes(self, rows: int) -> bool:
        """Whether so many rows may be predicted here."""
        if self._predictor is None or self.pace is None or not 0 < rows <= self.most:
            return False
        return rows * self.pace < LONGEST

    def predict(self, rows: Matrix) -> Matrix:
        """Values of shape (rows, outputs); only after `takes`. Raises whatever a model may raise."""
        assert self._predictor is not None
        return self._predictor.predict(rows)
