"""The trials of a search: every combination of a grid, or draws from values and ranges."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

from registry.errors import UsageError

#: Largest grid that is not taken for a slip.
MOST_TRIALS = 500
_DRAWS_EACH = 20  # for each trial wanted, until different ones are taken to be exhausted


def trials_of(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The trials that a plan asks for, in an order that depends on the plan alone.

    Raises:
        UsageError: the space is empty or malformed, a grid has a range in it or is too large.
    """
    space, count = plan.get("space", {}), int(plan.get("random", 0))
    if not space:
        raise UsageError("the space of the search is empty", "", "Give hyperparameters to vary.")
    for name, values in space.items():
        _check_values(name, values)
    if count:
        return list(_drawn(space, count, int(plan.get("seed", 0))))
    return _grid(space)


def _grid(space: Mapping[str, Any]) -> list[dict[str, Any]]:
    ranges = [name for name, values in space.items() if isinstance(values, Mapping)]
    if ranges:
        raise UsageError(
            f"{', '.join(ranges)} is a range", "a grid needs values", "List them, or draw: --random 20."
        )  # fmt: skip
    size = math.prod(len(values) for values in space.values())
    if size > MOST_TRIALS:
        raise UsageError(f"the grid has {size:,} trials", f"at most {MOST_TRIALS}", "--random 50")
    names = sorted(space)
    rows = itertools.product(*(space[name] for name in names))
    return [dict(zip(names, row, strict=True)) for row in rows]


def _drawn(space: Mapping[str, Any], count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Different trials; fewer where the space has no more."""
    if count > MOST_TRIALS:
        raise UsageError(f"{count:,} trials are asked for", f"at most {MOST_TRIALS}", "")
    source, seen = random.Random(seed), set()
    for _ in range(count * _DRAWS_EACH):
        trial = {name: _draw(source, space[name]) for name in sorted(space)}
        if repr(trial) not in seen:
            seen.add(repr(trial))
            yield trial
        if len(seen) == count:
            return


def _draw(source: random.Random, values: Any) -> Any:
    if not isinstance(values, Mapping):
        return values[source.randrange(len(values))]
    low, high = values["low"], values["high"]
    if values.get("log"):
        drawn = math.exp(source.uniform(math.log(low), math.log(high)))
    else:
        drawn = source.uniform(low, high)
    if isinstance(low, int) and isinstance(high, int):
        return round(drawn)
    return float(f"{drawn:.3g}")  # short enough to be read and typed again


def _check_values(name: str, values: Any) -> None:
    fits = _is_range(values) if isinstance(values, Mapping) else _is_list(values)
    if not fits:
        raise UsageError(
            f"the values of {name} are {values!r}",
            "a list, or a range with low < high (above 0 where log)",
            'For example [15, 31, 63] or {"low": 0.01, "high": 0.3, "log": true}.',
        )


def _is_list(values: Any) -> bool:
    return isinstance(values, list | tuple) and bool(values)


def _is_range(values: Mapping[str, Any]) -> bool:
    low, high = values.get("low"), values.get("high")
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return False
    known = values.keys() <= {"low", "high", "log"}
    return known and low < high and (low > 0 or not values.get("log"))
