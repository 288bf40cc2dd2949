"""Where everything lies, relative to the root of an environment. Pure functions, no I/O.

```
manifests/<family>/<name>/date=<date>/<readable>--<key16>.json    created once: the commit
data/<family>/<name>/date=<date>/<readable>--<key16>/<writer>/…   the files, never overwritten
attempts/<key>/<number>.json|.log|.end.json                       who tried, and how it ended
retractions/<base key>/<epoch>.json                               who withdrew it, and why
decisions/<model>/<alias>/<revision>.json                         what is live, and since when
runs/<run>.json  pins/<use case>/<date>/<what>.json               what was asked; what was fixed
stops/<run>.json                                                  who wants it to stop
lineage/manifests/…                                               what released models are made of
collections/<name>.json|.fate.json|.done.json                     what is to be deleted, and was
```

One listing of `manifests/<family>/<name>/` answers "what exists".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from registry.artifacts.key import Recipe

#: Longest readable part of a name; object keys may have 1,024 bytes, file names 255.
READABLE_BYTES = 120
_UNSAFE = re.compile(r"[^A-Za-z0-9=,._+-]+")


def readable(parameters: Mapping[str, Any]) -> str:
    """Scalars among `parameters` as `k=v,k=v`, safe for a path and cut to `READABLE_BYTES`."""
    text = ",".join(f"{key}={_short(value)}" for key, value in _flat(parameters))
    text = _UNSAFE.sub("_", text)
    return text if len(text) <= READABLE_BYTES else text[: READABLE_BYTES - 1].rstrip(",=") + "+"


def _flat(parameters: Mapping[str, Any]) -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key in sorted(parameters):
        value = parameters[key]
        flat += _flat(value) if isinstance(value, Mapping) else [(key, value)]
    return flat


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "-".join(_short(item) for item in value[:4]) + ("+" if len(value) > 4 else "")
    return str(value)


def stem(recipe: Recipe) -> str:
    """`<family>/<name>/[date=<date>/]<readable>--<key16>`: shared by manifest and data."""
    shown = {key: value for key, value in recipe.significant.items() if key != "date"}
    name = f"{readable(shown)}--{recipe.key[:16]}" if shown else f"--{recipe.key[:16]}"
    day = f"date={recipe.date}/" if recipe.date else ""
    return f"{recipe.family}/{recipe.name}/{day}{name}"


def manifest_path(recipe: Recipe) -> str:
    """Where the manifest of `recipe` lies."""
    return f"manifests/{stem(recipe)}.json"


def data_prefix(recipe: Recipe, writer: str) -> str:
    """The folder for the files that one writer of `recipe` produces; nobody else writes there."""
    return f"data/{stem(recipe)}/{writer}/"


def lineage_path(path: str) -> str:
    """Where a release keeps the manifest at `path` of what stays in the other environment."""
    return f"lineage/{path}"


def manifests_prefix(family: str, name: str) -> str:
    """The prefix whose listing shows every artifact of `family` and `name`."""
    return f"manifests/{family}/{name}/"


def attempt_path(key: str, number: int) -> str:
    """The record of the attempt `number` at `key`."""
    return f"attempts/{key}/{number:04d}.json"


def attempt_log_path(key: str, number: int) -> str:
    """The last part of what that attempt printed."""
    return f"attempts/{key}/{number:04d}.log"


def attempt_end_path(key: str, number: int) -> str:
    """How that attempt ended: kind, exit code, what it used."""
    return f"attempts/{key}/{number:04d}.end.json"


def retraction_path(base_key: str, epoch: int) -> str:
    """The record that took `base_key` to `epoch`."""
    return f"retractions/{base_key}/{epoch:04d}.json"


def decision_path(model: str, alias: str, revision: int) -> str:
    """The entry `revision` of the decision log of an alias."""
    return f"decisions/{model}/{alias}/{revision:08d}.json"


def run_path(run: str) -> str:
    """The record of a run."""
    return f"runs/{run}.json"


def stop_path(run: str) -> str:
    """The record that somebody wants a run to stop."""
    return f"stops/{run}.json"


def collection_path(name: str, what: str = "") -> str:
    """What a collection is to delete; with `what`, its "fate" or that it is "done"."""
    return f"collections/{name}.{what}.json" if what else f"collections/{name}.json"


def pin_path(usecase: str, date: str, what: str) -> str:
    """The record that fixes `what` for every later run of a use case and logical date."""
    return f"pins/{usecase}/{date}/{what}.json"
