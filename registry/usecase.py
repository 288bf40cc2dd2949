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
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

from registry.artifacts.manifest import model_name
from registry.errors import BadData, UsageError
from registry.training import Training

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

#: The steps of a use case, in the order of the data. Each has an explicit version.
STEPS = ("ingest", "features", "train", "evaluate", "predict")

#: Steps that not every use case takes; their version is 1 until the settings say another.
FURTHER_STEPS = ("search",)


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
class Quarantine:
    """How many rows that cannot be scored a prediction may leave out; none unless this says so.

    `share` of the rows (0.001 is one in a thousand) and number of `rows`: where both are given,
    both hold. `infinite` names inputs that may hold infinity, which elsewhere makes a row bad.
    """

    share: float | None = None
    rows: int | None = None
    infinite: tuple[str, ...] = ()


@dataclass(frozen=True)
class Horizon:
    """Another moment at which a use case predicts, with features and a model of its own.

    Its features are `usecases/<usecase>/<name>.py`, which offers what `features.py` does; its
    model is called `<usecase>-<name>`. `algorithms`, `gate`, `window_days` and `lookback_days` stand
    in for those of the use case; `training` is that of the horizon alone.
    """

    name: str
    algorithms: Mapping[str, Mapping[str, Any]] | None = None
    gate: Gate | None = None
    window_days: int | None = None
    lookback_days: int | None = None
    training: Training = field(default_factory=Training)


@dataclass(frozen=True)
class UseCaseSettings:
    """What the pipeline must know of a use case without importing its work.

    Features of day D read the sources of D-`lookback_days` … D; a model for day D is trained on
    the features of D-`window_days` … D-1 and evaluated on D. `algorithms` maps the name of an
    algorithm to its hyperparameters, which may be overridden for one run. `snapshot` names the
    state of the external data (a version and digest), which becomes part of every recipe.
    `horizons` are further moments of prediction; the last of them scores the next day in batch.
    `searches` maps an algorithm to the plan of a search that precedes every training of it at the
    use case's own horizon: see `pipelines.search.Search`. `sizes` maps a step, or "train" and an
    algorithm as "train.catboost", to the size it starts with. A prediction is made in so many `shards`,
    jobs that run side by side, and may leave out rows within the bounds of `quarantine`. `training`
    holds what is asked of LightGBM and CatBoost besides hyperparameters.
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
    horizons: tuple[Horizon, ...] = ()
    searches: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    shards: int = 1
    quarantine: Quarantine = field(default_factory=Quarantine)
    training: Training = field(default_factory=Training)

    def version(self, step: str) -> int:
        """The version of a step. Raises KeyError where none is given and none is assumed."""
        assumed = dict.fromkeys(FURTHER_STEPS, 2)
        return {**assumed, **self.versions}[step]

    @property
    def horizon_names(self) -> list[str]:
        """Every horizon's name; the first one, of the use case itself, is the empty one."""
        return ["", *(horizon.name for horizon in self.horizons)]

    def at(self, horizon: str) -> UseCaseSettings:
        """The settings as they hold at `horizon`.

        Raises:
            UsageError: it is not declared; names those that are.
        """
        if not horizon:
            return self
        found = next((known for known in self.horizons if known.name == horizon), None)
        if found is None:
            known = ", ".join(self.horizon_names[1:]) or "none"
            raise UsageError(
                f"{self.name} has no horizon {horizon!r}", f"known are: {known}", "Choose one."
            )
        return replace(
            self,
            algorithms=self.algorithms if found.algorithms is None else found.algorithms,
            gate=found.gate or self.gate,
            window_days=found.window_days or self.window_days,
            lookback_days=self.lookback_days
            if found.lookback_days is None
            else found.lookback_days,
            searches={},
            training=found.training,
        )

    def model(self, horizon: str) -> str:
        """What the model of `horizon` is called: "flights", "flights-dayahead"."""
        return model_name(self.name, horizon)

    @property
    def algorithm_names(self) -> set[str]:
        """The names of the algorithms at any horizon."""
        others = [horizon.algorithms or {} for horizon in self.horizons]
        return {name for algorithms in (self.algorithms, *others) for name in algorithms}


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


def load_features(name: str, horizon: str = "") -> ModuleType:
    """The module with `VIEW` and `features` for `horizon`: `features.py`, or the one named alike.

    Raises:
        UsageError: no such use case, or no such horizon.
        BadData: the use case lacks this module.
    """
    load_usecase(name).at(horizon)
    return load_step(name, horizon or "features")
