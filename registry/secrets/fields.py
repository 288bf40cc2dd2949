"""The text of a secret in a file or a variable: a JSON object, or lines of NAME=VALUE."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from registry.errors import ConfigError
from registry.secrets.protocol import Fields


def parse_fields(text: str, origin: str) -> Fields:
    """The fields in `text`; empty lines and lines that start with # are passed over.

    Raises:
        ConfigError: it has another form; names the line, never what it holds.
    """
    if text.lstrip().startswith("{"):
        try:
            return checked_fields(json.loads(text), origin)
        except json.JSONDecodeError as error:
            raise _malformed(origin, f"it is not JSON at line {error.lineno}") from None
    lines = enumerate(text.splitlines(), 1)
    pairs = [_pair(line, number, origin) for number, line in lines if _tells(line)]
    return checked_fields(dict(pairs), origin)


def checked_fields(document: Any, origin: str) -> Fields:
    """`document`, if it is an object of named texts with one or more members; nulls left out.

    Raises:
        ConfigError: it is something else.
    """
    if not isinstance(document, Mapping) or not document:
        raise _malformed(origin, "it holds no named values")
    given = {name: value for name, value in document.items() if value is not None}
    for name, value in given.items():
        if not isinstance(value, str) or not value:
            raise _malformed(origin, f"the value of {name!r} is no text")
    return given


def _tells(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _pair(line: str, number: int, origin: str) -> tuple[str, str]:
    name, equals, value = line.partition("=")
    if not equals or not name.strip():
        raise _malformed(origin, f"line {number} is not NAME=VALUE")
    return name.strip().removeprefix("export "), value.strip().strip("\"'")


def _malformed(origin: str, why: str) -> ConfigError:
    return ConfigError(
        f"the secret at {origin} cannot be used",
        why,
        "Write a JSON object of texts, or lines of NAME=VALUE (docs/how-to/secrets.md).",
    )
