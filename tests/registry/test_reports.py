"""What is told of an error, and how often."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from registry.logs import configure, get_logger
from registry.redaction import MASK, remember
from registry.reports import MOST_KINDS, QUIET, Event, Reports, reports

SECRET = "canary-of-reports-0123456789"


class Told:
    """Reports to a list, under a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.events: list[Event] = []
        self.reports = Reports(lambda: self.now)
        self.reports.sink = self.events.append


@pytest.fixture
def told() -> Told:
    return Told()


def failing(secret: str = "") -> Exception:
    """An error with a cause, raised by frames that hold a value."""
    row = {"age": 41, "value": secret}

    def act() -> None:
        try:
            {"x": row}["the cause"]
        except KeyError as cause:
            raise ValueError(f"with {row['value']}") from cause

    try:
        act()
    except ValueError as error:
        return error
    raise AssertionError


def test_an_error_is_told_with_its_causes_and_frames_and_no_values(told: Told) -> None:
    remember([SECRET])
    told.reports.report("it failed", failing(SECRET), model="flights", rows=7)
    (event,) = told.events
    assert event["logentry"] == {"formatted": "it failed"}
    assert (event["tags"], event["extra"]) == ({"model": "flights"}, {"rows": "7"})
    cause, error = event["exception"]["values"]
    assert (cause["type"], error["type"], error["value"]) == (
        "KeyError",
        "ValueError",
        f"with {MASK}",
    )
    frame = error["stacktrace"]["frames"][-1]
    assert frame["filename"] == "tests/registry/test_reports.py"
    assert frame["function"] == "act"
    assert "raise ValueError" in frame["context_line"]
    assert "vars" not in frame
    assert SECRET not in json.dumps(event)
    assert "41" not in json.dumps(event["exception"])


def test_a_fault_of_every_request_is_no_flood(told: Told) -> None:
    for _ in range(1000):
        told.reports.report("it failed", failing())
        told.reports.report("another")
    assert len(told.events) == 2
    told.now += QUIET
    told.reports.report("it failed", failing())
    assert told.events[-1]["extra"]["repeated"] == "999"
    for number in range(10 * MOST_KINDS):
        told.reports.report(f"kind {number}")
    assert len(told.reports._told) <= MOST_KINDS


def test_what_goes_wrong_with_a_report_hurts_nobody(told: Told) -> None:
    def broken(_: Event) -> None:
        raise OSError("no route")

    class Odd:
        def __str__(self) -> str:
            raise RuntimeError

    told.reports.sink = broken
    told.reports.report("it failed")
    told.reports.sink = told.events.append
    told.reports.report("odd", field=Odd())
    told.reports.sink = None
    told.reports.report("nobody listens")
    assert told.events == []


@pytest.fixture
def lines() -> Iterator[list[Event]]:
    """What lines of the log tell."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    kept: list[Event] = []
    reports.sink = kept.append
    configure("info", io.StringIO())
    yield kept
    reports.sink = None
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_lines_of_level_error_are_told(lines: list[Event]) -> None:
    log: Any = get_logger("serving.x")
    log.warning("not this")
    log.error("this", reason="r", message="m", error="e", model="flights")
    try:
        raise failing()
    except ValueError:
        log.exception("and this")
    first, second = lines
    assert first["logger"] == "serving.x"
    assert first["tags"] == {"model": "flights"}
    assert first["extra"] == {"reason": "r", "message": "m", "error": "e"}
    assert "exception" not in first
    assert second["exception"]["values"][-1]["type"] == "ValueError"
