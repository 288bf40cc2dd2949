"""The seam of `penstock doctor`: a check says what it found, and what to do where that is bad.

A package adds its own through a row in the entry-point group `penstock.checks`, which names a
function from the settings to the checks it made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from registry.errors import PenstockError
from registry.settings import Settings

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """One finding. A failed check carries the exit code of the error behind it."""

    name: str
    status: Status
    found: str
    hint: str = ""
    exit_code: int = 0


#: Looks at one part of the system. What it raises becomes a failed check.
Checker = Callable[[Settings], Iterable[Check]]


def failed(name: str, error: PenstockError) -> Check:
    """The check that `error` makes fail."""
    found = f"{error.what}: {error.why}" if error.why else error.what
    return Check(name, "fail", found, error.todo, error.exit_code)
