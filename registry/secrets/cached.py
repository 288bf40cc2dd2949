"""A secret kept for a while, and for longer while the place that it comes from is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from registry.errors import ConfigError, PenstockError, Temporary
from registry.logs import get_logger
from registry.redaction import remember
from registry.secrets.protocol import Fetched, Fields, Origin

log = get_logger(__name__)
#: Seconds between two tries to reach a place that is away.
RETRY_S = 5.0


@dataclass(frozen=True)
class Patience:
    """Seconds for which a secret is used without reading it again, and while its place is away."""

    refresh_s: float
    keep_s: float


class CachedSource:
    """Reads `origin` when that is due: after `refresh_s`, or at two thirds of a lease.

    While the origin is away or half written, what was read last serves on until `keep_s` after that
    reading, or the end of its lease. A right that was withdrawn counts at the next reading.
    """

    def __init__(
        self, origin: Origin, patience: Patience, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._origin = origin
        self._patience = patience
        self._clock = clock
        self._fields: Fields | None = None
        self._due = self._until = 0.0
        self._away = False
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return self._origin.name

    def read(self) -> Fields:
        with self._lock:
            now = self._clock()
            if self._fields is not None and now < self._due:
                return self._fields
            try:
                return self._take(self._origin.fetch(), now)
            except (Temporary, ConfigError) as error:
                if self._fields is None or now >= self._until:
                    raise
                self._bridge(error, now)
                return self._fields

    def forget(self) -> None:
        with self._lock:
            self._due = 0.0

    def _take(self, fetched: Fetched, now: float) -> Fields:
        remember(fetched.fields.values())
        lease = fetched.lease_s
        self._due = now + (self._patience.refresh_s if lease is None else lease * 2 / 3)
        self._until = now + (self._patience.keep_s if lease is None else lease)
        if self._away:
            log.info("secret read again", secret=self.name)
        self._fields, self._away = fetched.fields, False
        return self._fields

    def _bridge(self, error: PenstockError, now: float) -> None:
        """Go on with what is known, and do not ask again at once."""
        if not self._away:
            seconds = round(self._until - now)
            log.warning("secret kept", secret=self.name, reason=str(error), for_seconds=seconds)
        self._away = True
        self._due = min(now + RETRY_S, self._until)
