"""One JSON object a line, whoever logs."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from registry.ecs import OBJECTS
from registry.logs import configure, get_logger

#: Made as modules make theirs: before anybody has configured anything.
EARLY = get_logger("early")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the lines go; whatever logs afterwards finds the defaults again."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_lines_carry_the_names_of_the_common_schema(stream: io.StringIO):
    configure("info", stream)
    get_logger("registry.x").bind(run="r1").info("done", revision=3)
    (line,) = lines(stream)
    assert line.pop("@timestamp")
    assert line == {
        "message": "done",
        "ecs.version": "8.11",
        "log.level": "info",
        "log.logger": "registry.x",
        "run": "r1",
        "revision": 3,
    }


def test_a_logger_made_before_follows_the_configuration(stream: io.StringIO):
    configure("warning", stream)
    EARLY.info("hidden")
    EARLY.warning("shown")
    assert [line["message"] for line in lines(stream)] == ["shown"]


def test_libraries_that_log_the_standard_way_come_out_alike(stream: io.StringIO):
    configure("info", stream)
    logging.getLogger("some.library").info("task %s", "done")
    logging.getLogger("some.library").debug("hidden")
    (line,) = lines(stream)
    assert (line["message"], line["log.level"]) == ("task done", "info")
    assert line["log.logger"] == "some.library"


def test_an_exception_stays_on_its_line(stream: io.StringIO):
    configure("info", stream)
    try:
        int("odd")
    except ValueError:
        get_logger("x").exception("failed")
        logging.getLogger("y").exception("failed")
    ours, theirs = lines(stream)
    for line in (ours, theirs):
        assert line["error.type"] == "ValueError"
        assert "invalid literal" in str(line["error.message"])
        assert "ValueError: invalid literal" in str(line["error.stack_trace"])


def test_no_name_of_ours_takes_the_place_of_an_object_of_the_schema(stream: io.StringIO):
    configure("info", stream)
    get_logger("x").info("odd", error="boom", host="h", service="s", reason="r", pid=7, model="m")
    (line,) = lines(stream)
    assert not line.keys() & OBJECTS
    assert (line["error.message"], line["labels.host"], line["labels.service"]) == (
        "boom",
        "h",
        "s",
    )
    assert (line["event.reason"], line["process.pid"], line["model"]) == ("r", 7, "m")


def test_plain_lines_are_for_a_person(stream: io.StringIO):
    configure("info", stream, json=False)
    try:
        int("odd")
    except ValueError:
        get_logger("x").exception("failed", run="r1")
    assert "failed" in stream.getvalue()
    assert "run=r1" in stream.getvalue()
    assert "ValueError: invalid literal" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
