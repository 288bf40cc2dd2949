"""Which values make a row bad, and how many bad rows there may be."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from registry.errors import UsageError
from registry.usecase import Quarantine

_LIMIT = re.compile(r"(?P<share>\d+(\.\d*)?)%|(?P<rows>\d+)")


@dataclass(frozen=True)
class Rules:
    """Inputs that may hold infinity, and the bounds on bad rows; without any, none is allowed."""

    infinite: Collection[str] = ()
    share: float | None = None
    rows: int | None = None

    @classmethod
    def of(cls, declared: Quarantine, infinite: Collection[str]) -> Rules:
        """What a use case declares. `infinite` is in the recipe: it decides what a row becomes."""
        return cls(frozenset(infinite), declared.share, declared.rows)

    def most(self, total: int) -> int:
        """How many of `total` rows may be bad."""
        bounds = [] if self.share is None else [int(self.share * total + 1e-9)]
        bounds += [] if self.rows is None else [self.rows]
        return min(bounds, default=0)


def parse_limit(text: str) -> tuple[float | None, int | None]:
    """A share and a number of rows, from "0.1%", "500" or "0.1%,500".

    Raises:
        UsageError: it is none of these.
    """
    share: float | None = None
    rows: int | None = None
    for part in text.split(","):
        found = _LIMIT.fullmatch(part.strip())
        if found is None:
            raise UsageError(
                f"the limit {text!r} is not understood",
                "a share of the rows such as 0.1%, a number of rows such as 500, or both",
                "For example --quarantine-limit 0.1%,500.",
            )
        if found["share"]:
            share = float(found["share"]) / 100
        else:
            rows = int(found["rows"])
    return share, rows
