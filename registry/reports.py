"""Errors that somebody should hear of: what is told of one, and where this process tells it.

Every line of the log of level error is told, and so is what is passed to `report` beside the log. Of
each kind one is told at once and one a minute after that, so that a fault which hits every request
is one event and no flood. Values of variables are left out: they would be rows and secrets.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from registry.redaction import redact

#: An event as Sentry describes one: https://develop.sentry.dev/sdk/data-model/event-payloads/
Event = dict[str, Any]
Sink = Callable[[Event], object]

#: Seconds between two events of one kind, and how many kinds are told apart.
QUIET, MOST_KINDS = 60.0, 256
#: An event must fit into one message of a control channel.
LONGEST_TEXT, LONGEST_FIELD, MOST_FRAMES, MOST_CAUSES = 2000, 500, 20, 3
#: Fields by which events are found; all others are shown with the event.
TAGS = frozenset(
    [
        "command",
        "kind",
        "model",
        "process",
        "revision",
        "role",
        "run",
        "status",
        "usecase",
        "version",
    ]
)
LEVELS = frozenset({"error", "exception", "critical"})
#: What an event has a place of its own for.
_SHOWN = frozenset({"event", "level", "logger", "timestamp", "exc_info"})
_ROOT = str(Path(__file__).resolve().parents[1]) + "/"
_OWN = ("penstock/", "registry/", "pipelines/", "jobs/", "serving/", "usecases/")


class Reports:
    """Hands events to `sink`, if there is one. Shared between threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.sink: Sink | None = None
        self._clock = clock
        self._lock = threading.Lock()
        #: When each kind was told last, and how many were left out since.
        self._told: dict[tuple[str, ...], tuple[float, int]] = {}

    def report(
        self,
        message: str,
        error: BaseException | None = None,
        *,
        level: str = "error",
        logger: str = "penstock",
        **fields: Any,
    ) -> None:
        """Tell of an error. Never raises, and never waits."""
        self.tell(message, error, level, logger, fields)

    def tell(
        self,
        message: str,
        error: BaseException | None,
        level: str,
        logger: str,
        fields: Mapping[str, Any],
    ) -> None:
        """`report` for fields of any name."""
        sink = self.sink
        if sink is None:
            return
        try:
            left_out = self._count((logger, message, type(error).__name__))
            if left_out is not None:
                more = {"repeated": left_out} if left_out else {}
                sink(_event(message, error, level, logger, {**fields, **more}))
        except Exception as trouble:  # noqa: BLE001 - the error itself matters, and is logged
            # Not through the log, whose errors come here.
            sys.stderr.write(f"an error could not be reported: {type(trouble).__name__}\n")

    def forward(self, event: Event, **tags: Any) -> None:
        """Tell an event of another process, which has kept to the limits."""
        if self.sink is not None:
            event["tags"] = {**event.get("tags", {}), **{k: str(v) for k, v in tags.items()}}
            self.sink(event)

    def _count(self, kind: tuple[str, ...]) -> int | None:
        """How many of this kind were left out before this one; None if it is left out too."""
        now = self._clock()
        with self._lock:
            if kind not in self._told and len(self._told) >= MOST_KINDS:
                self._told.clear()
            last, left_out = self._told.get(kind, (now - QUIET, 0))
            if now - last < QUIET:
                self._told[kind] = (last, left_out + 1)
                return None
            self._told[kind] = (now, 0)
            return left_out


#: Those of this process.
reports = Reports()


def report_line(_: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of structlog: a line of level error is told as well."""
    if reports.sink is not None and method in LEVELS:
        given = line.get("exc_info")
        error = sys.exc_info()[1] if given is True else given
        fields = {name: value for name, value in line.items() if name not in _SHOWN}
        caught = error if isinstance(error, BaseException) else None
        reports.tell(str(line.get("event")), caught, "error", str(line.get("logger")), fields)
    return line


def _event(
    message: str, error: BaseException | None, level: str, logger: str, fields: Mapping[str, Any]
) -> Event:
    shown = {name: redact(str(value)[:LONGEST_FIELD]) for name, value in fields.items()}
    event: Event = {
        "level": level,
        "logger": logger,
        "platform": "python",
        "timestamp": datetime.now(UTC).isoformat(),
        "logentry": {"formatted": redact(message[:LONGEST_TEXT])},
        "tags": {name: value for name, value in shown.items() if name in TAGS},
        "extra": {name: value for name, value in shown.items() if name not in TAGS},
    }
    if error is not None:
        # The oldest comes first, and the one that was caught last.
        event["exception"] = {"values": [_exception(each) for each in _causes(error)][::-1]}
    return event


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    for _ in range(MOST_CAUSES):
        if found is None:
            return
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def _exception(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)[-MOST_FRAMES:]
    return {
        "type": type(error).__name__,
        "module": type(error).__module__,
        "value": redact(str(error)[:LONGEST_TEXT]),
        "stacktrace": {"frames": [_frame(frame) for frame in frames]},
    }


def _frame(frame: traceback.FrameSummary) -> dict[str, Any]:
    name = frame.filename.removeprefix(_ROOT).rpartition("site-packages/")[2]
    return {
        "filename": name,
        "function": frame.name,
        "lineno": frame.lineno,
        "context_line": redact((frame.line or "")[:LONGEST_FIELD]),
        "in_app": name.startswith(_OWN),
    }
