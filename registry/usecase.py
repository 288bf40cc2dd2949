"""The seam for a team's own code: what a folder under `usecases/` must offer.

`usecases/<name>/settings.py` holds `SETTINGS`, read by the pipeline; it stays light (no pyarrow,
no numpy). `sources.py`, `features.py` and `label.py` hold the work and are imported by jobs only.
"""

from __future__ import annotations

import datetime as dt
import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from registry.errors import BadData, UsageError

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

#: The steps of a use case, in the order of the data. Each has an explicit version.
STEPS = ("ingest", "features", "train", "evaluate", "predict")


@dataclass(frozen=True)
class Gate:
    """What a candidate must reach to be published without a person.

    `min_auc_gain` and `min_log_loss_gain` are margins over the base rate (absolute);
    `max_log_loss_regression` is how much worse than the champion it may be on the same day.
    """

    min_auc_gain: float = 0.0
    min_log_loss_gain: float = 0.0
    max_log_loss_regression: float = 0.0


@dataclass(frozen=True)
class UseCaseSettings:
    """What the pipeline must know of a use case without importing its work.

    Features of day D read the sources of D-`lookback_days` … D; a model for day D is trained on
    the features of D-`window_days` … D-1 and evaluated on D. `algorithms` maps the name of an
    algorithm to its hyperparameters, which may be overridden for one run. `snapshot` names the
    state of the external data (a version and digest), which becomes part of every recipe.
    """

    name: str
    versions: Mapping[str, int]
    first_date: dt.date
    last_date: dt.date
    snapshot: Callable[[], Mapping[str, str]]
    algorithms: Mapping[str, Mapping[str, Any]]
    lookback_days: int = 1
    window_days: int = 21
    seed: int = 0
    threads: int = 2
    gate: Gate = field(default_factory=Gate)
    sizes: Mapping[str, str] = field(default_factory=dict)


def known_usecases() -> list[str]:
    """The names of the folders under `usecases/`, sorted."""
    spec = importlib.util.find_spec("usecases")
    paths = list(spec.submodule_search_locations or []) if spec else []
    return sorted(module.name for module in pkgutil.iter_modules(paths) if module.ispkg)


def load_usecase(name: str) -> UseCaseSettings:
    """The settings of the use case `name`.

    Raises:
        UsageError: no such use case; names those that exist.
        BadData: its settings module does not define `SETTINGS`, or a step has no version.
    """
    if not NAME.fullmatch(name) or name not in known_usecases():
        known = ", ".join(known_usecases()) or "none"
        raise UsageError(f"there is no use case {name!r}", f"known are: {known}", "Choose one.")
    settings = getattr(importlib.import_module(f"usecases.{name}.settings"), "SETTINGS", None)
    if not isinstance(settings, UseCaseSettings):
        raise BadData(
            f"usecases/{name}/settings.py is incomplete",
            "it must define SETTINGS = UseCaseSettings(…)",
            "See docs/usecase.md.",
        )
    if settings.name != name:
        raise BadData(
            f"usecases/{name}/settings.py has the name {settings.name!r}",
            "its artifacts would be taken for those of another use case",
            f"Write name={name!r}.",
        )
    return _checked(settings)


def _checked(settings: UseCaseSettings) -> UseCaseSettings:
    missing = [step for step in STEPS if step not in settings.versions]
    if missing:
        raise BadData(
            f"usecases/{settings.name}/settings.py gives no version for {', '.join(missing)}",
            "every step has an explicit version, which is part of its artifacts' identity",
            "Add it to `versions`, starting with 1.",
        )
    return settings


def load_step(name: str, module: str) -> ModuleType:
    """Import `usecases/<name>/<module>.py` (heavy: jobs only).

    Raises:
        UsageError: no such use case.
        BadData: the use case lacks this module.
    """
    load_usecase(name)
    if importlib.util.find_spec(f"usecases.{name}.{module}") is None:
        raise BadData(
            f"usecases/{name} has no {module}.py", "the step needs it", "See docs/usecase.md."
        )
    return importlib.import_module(f"usecases.{name}.{module}")
