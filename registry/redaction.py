"""The last line of defence: values that are known to be secret never reach a log.

Nothing puts a secret into a message. Should a library's error or a new line of code do so all the
same, its value is masked here.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterable, Mapping

#: Variables of this process that hold a secret. Those of Nomad, Consul, Vault, S3 and Sentry clients.
SECRET_VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "CONSUL_HTTP_TOKEN",
    "NOMAD_TOKEN",
    "SENTRY_DSN",
    "VAULT_TOKEN",
)
MASK = "********"
#: Shorter values would mask ordinary words.
SHORTEST = 8


class _Known:
    """The values seen so far, and a pattern that finds them."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()

    def add(self, values: Iterable[str]) -> None:
        long = {value for value in values if len(value) >= SHORTEST}
        # As a line of JSON and as Python's repr show it.
        escaped = {form[1:-1] for value in long for form in (json.dumps(value), repr(value))}
        with self._lock:
            if not (long | escaped) <= self._values:
                self._values |= long | escaped
                longest_first = sorted(self._values, key=len, reverse=True)
                self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def mask(self, text: str) -> str:
        return self._pattern.sub(MASK, text) if self._pattern else text


_known = _Known()


def remember(values: Iterable[str]) -> None:
    """Mask these values from now on."""
    _known.add(values)


def remember_environment() -> None:
    """Mask what the variables in `SECRET_VARIABLES` hold."""
    remember(os.environ.get(name, "") for name in SECRET_VARIABLES)


def without_secrets(env: Mapping[str, str]) -> dict[str, str]:
    """`env` for a child process that needs no secret: without those that this module knows."""
    named = {
        value.removeprefix("env:")
        for name, value in env.items()
        if name.startswith("PENSTOCK_") and value.startswith("env:")
    }
    return {name: value for name, value in env.items() if name not in {*SECRET_VARIABLES, *named}}


def redact(text: str) -> str:
    """`text` with every known secret masked."""
    return _known.mask(text)
