"""No secret enters a job specification.

Whoever may read jobs would read it, for as long as Nomad keeps old versions.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from registry.errors import Refused, UsageError
from registry.redaction import SECRET_VARIABLES, SHORTEST
from registry.settings import TABLE

_NAME = re.compile(r"secret|token|passw|credential|access_key|private_key|api_key", re.IGNORECASE)
#: A user and password before the host of a URL.
_LOGIN = re.compile(r"://[^/\s:@]+:[^/\s@]+@")


def refuse_secrets(job: Mapping[str, Any], env: Mapping[str, str] = os.environ) -> None:
    """Raise Refused where `job` (Nomad's JSON) holds what looks like a secret, or is known as one.

    Args:
        env: where known secrets are: those that `registry.redaction` masks.
    """
    known = [value for name in SECRET_VARIABLES if len(value := env.get(name, "")) >= SHORTEST]
    for place, text in _texts(job):
        if _LOGIN.search(text) or any(value in text for value in known):
            raise _refused(place, "its value is, or holds, a secret")
    for task in _tasks(job):
        for name in task.get("Env") or {}:
            if _NAME.search(name) and name not in _OURS and not name.endswith("_FILE"):
                raise _refused(f"env {name}", "a variable of that name holds a secret")


#: Settings say where a secret is, never what it is; each is checked where it is read.
_OURS = frozenset(row.variable for row in TABLE)


def _refused(place: str, why: str) -> Refused:
    return Refused(
        f"a job specification may not hold {place}",
        why,
        "Put it into Vault and register with --var vault=true (docs/how-to/nomad.md).",
    )


def check_program(job: Mapping[str, Any]) -> None:
    """Raise UsageError where a task says neither which image it is nor which program."""
    for task in _tasks(job):
        config, driver = task.get("Config") or {}, task.get("Driver")
        wanted = "image" if driver == "docker" else "command"
        if not config.get(wanted):
            raise UsageError(
                f"{job.get('ID')} says not what to run",
                f"the driver is {driver}, and {wanted} is empty",
                "Name the image with --image, or use --dev to run the program of this checkout.",
            )


def _tasks(job: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for group in job.get("TaskGroups") or ():
        yield from group.get("Tasks") or ()


def _texts(value: Any, place: str = "job") -> Iterator[tuple[str, str]]:
    """Every text in a JSON document, with where it is."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _texts(each, f"{place}.{name}" if place != "job" else str(name))
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, place)
