"""What a use case expects of its data: declared in `usecases/<name>/quality.py`, checked by jobs.

Expectations decide whether an artifact may come into being, never what is in it. So they belong to
no recipe, and changing one makes nothing again (docs/decisions/0007-expectations.md).
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from registry.errors import BadData


@dataclass(frozen=True)
class Values:
    """What the values of a column may be.

    `low` and `high` are the inclusive bounds of numbers, `categories` the texts there may be (none
    named: any). `outside` is the largest share of the values that may break these; `nulls` the
    largest share of the rows that may hold none, where NaN counts as null.
    """

    low: float | None = None
    high: float | None = None
    categories: Collection[str] = ()
    outside: float = 0.0
    nulls: float = 0.0


@dataclass(frozen=True)
class Rows:
    """What a day's table must look like.

    `least` and `most` bound the number of rows, `unique` names columns that hold no value twice,
    `columns` says what values others may have.
    """

    least: int = 1
    most: int | None = None
    unique: Collection[str] = ()
    columns: Mapping[str, Values] = field(default_factory=dict)


@dataclass(frozen=True)
class Expectations:
    """Of each table of the sources, of the features, and of the share of true labels in a day.

    `horizons` says the same as `features` of the horizons that the settings declare.
    """

    sources: Mapping[str, Rows] = field(default_factory=dict)
    features: Rows = field(default_factory=Rows)
    horizons: Mapping[str, Rows] = field(default_factory=dict)
    label_rate: tuple[float, float] = (0.0, 1.0)


def expectations_of(usecase: str) -> Expectations:
    """What `usecases/<usecase>/quality.py` declares; nothing in particular where it is absent.

    Raises:
        BadData: the module defines no `EXPECTATIONS`.
    """
    module = f"usecases.{usecase}.quality"
    if importlib.util.find_spec(module) is None:
        return Expectations()
    found = getattr(importlib.import_module(module), "EXPECTATIONS", None)
    if not isinstance(found, Expectations):
        raise BadData(
            f"usecases/{usecase}/quality.py is incomplete",
            "it must define EXPECTATIONS = Expectations(…)",
            "See docs/usecase.md.",
        )
    return found
