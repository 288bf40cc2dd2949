"""Field names of the Elastic Common Schema, and what a line of the log becomes under them.

Fields of our own (`model`, `revision`, `run` …) stand at the top, as the schema allows, unless the
schema has an object by that name: then they are labels.
Reference: https://www.elastic.co/docs/reference/ecs
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import MutableMapping
from typing import Any

#: The version of the schema that lines name.
VERSION = "8.11"
#: Names in the schema for what structlog, or our own calls, say more shortly.
NAMES = {
    "timestamp": "@timestamp",
    "level": "log.level",
    "event": "message",
    "logger": "log.logger",
    "reason": "event.reason",
    "error": "error.message",
    "pid": "process.pid",
    "exit_code": "process.exit_code",
    "request": "http.request.id",
    "status": "http.response.status_code",
    "trace": "trace.id",
    "span": "span.id",
}
#: Objects of the schema: a plain value by such a name would not fit into an index that follows it.
OBJECTS = frozenset(
    [
        "agent",
        "as",
        "client",
        "cloud",
        "code_signature",
        "container",
        "data_stream",
        "destination",
        "device",
        "dll",
        "dns",
        "ecs",
        "elf",
        "email",
        "error",
        "event",
        "faas",
        "file",
        "gen_ai",
        "geo",
        "group",
        "hash",
        "host",
        "http",
        "interface",
        "labels",
        "log",
        "network",
        "observer",
        "orchestrator",
        "organization",
        "os",
        "package",
        "pe",
        "process",
        "registry",
        "related",
        "risk",
        "rule",
        "server",
        "service",
        "source",
        "span",
        "threat",
        "tls",
        "trace",
        "transaction",
        "url",
        "user",
        "user_agent",
        "vlan",
        "volume",
        "vulnerability",
        "x509",
    ]
)


def to_ecs(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of structlog: the line under the schema's names."""
    return {"ecs.version": VERSION} | {_name(key): value for key, value in event.items()}


def _name(key: str) -> str:
    return NAMES.get(key, f"labels.{key}" if key in OBJECTS else key)


def explain(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of structlog: an exception as `error.type`, `.message` and `.stack_trace`."""
    given = event.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()
    elif isinstance(given, BaseException):
        given = (type(given), given, given.__traceback__)
    if given and given[0] is not None:
        event["error.type"] = given[0].__name__
        event["error.message"] = str(given[1])
        event["error.stack_trace"] = "".join(traceback.format_exception(*given)).rstrip()
    return event
