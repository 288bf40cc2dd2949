"""Structured logs: one JSON object a line with ECS field names, or plain lines for a person."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from registry import ecs
from registry.redaction import redact, remember_environment
from registry.reports import report_line

_LOGGER = ecs.NAMES["logger"]


def _of_library(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["logger"] = event["_record"].name
    return event


def _named(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.setdefault("logger", event.pop(_LOGGER, "penstock"))
    return event


def _redacted(_: Any, __: str, line: str) -> str:
    return redact(line)


def configure(level: str = "warning", stream: TextIO | None = None, *, json: bool = True) -> None:
    """Send log lines of `level` and above to `stream` (stderr), as JSON or as plain text."""
    out = stream or sys.stderr
    remember_environment()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named,
    ]
    render: list[Any] = (
        [ecs.explain, ecs.to_ecs, structlog.processors.JSONRenderer()]
        if json
        else [structlog.dev.ConsoleRenderer(colors=out.isatty())]
    )
    render.append(_redacted)
    structlog.configure(
        processors=[*shared, report_line, *render],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    # Libraries that log the standard way (Luigi does) come out in the same form.
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_of_library, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def get_logger(name: str) -> Any:
    """A logger whose lines carry `name`; bind further fields with `.bind(key=value)`."""
    # Bound lazily: a module's own logger, made at import, must follow a later `configure`.
    return structlog.get_logger(**{_LOGGER: name})
