"""Train: a model from the features of the days before the logical date.

With a warm start it goes on from a parent: the champion that was live when a run first came to the
date. That is a pin, so every later run of the date sees the same, and the parent is in the key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import luigi

from pipelines.champion import live_champion, trained_on
from pipelines.errors import Undecided
from pipelines.features import Features, days_before
from pipelines.session import current
from pipelines.task import ArtifactTask, AtHorizon
from registry.artifacts.manifest import Reference
from registry.errors import UsageError
from registry.training import ALGORITHMS, Training


class Train(AtHorizon, ArtifactTask):
    """A model bundle. Threads and seed are part of its identity: both change the trees."""

    kind = "train"
    family = "model"
    algorithm = luigi.Parameter(description="one of the use case's algorithms")
    search: dict[str, Any] = luigi.DictParameter(default={}, description="plan of a search before")

    @property
    def label(self) -> str:
        return candidate_label(super().label, self.algorithm, self.changes)

    @property
    def pin(self) -> str:
        """The name of the pin that holds the parent; each algorithm and horizon has one."""
        return f"parent-{self.algorithm}-{self.horizon}".rstrip("-")

    def inputs(self) -> Mapping[str, ArtifactTask | Reference | Sequence[ArtifactTask]]:
        parent = self.parent()
        return {**self._learnt_from(), **({"parent": parent} if parent else {})}

    def requires(self) -> list[luigi.Task]:
        """What it learns from: known before the parent is.

        In a backfill the verdict of the date before comes first, since it may name the parent.
        """
        steps = [step for steps in self._learnt_from().values() for step in steps]
        warm = self.training().warm_start is not None
        return [*steps, *(current().order.before(self.date, self.horizon) if warm else [])]

    def decide(self) -> None:
        if self.training().warm_start is None:
            return
        session = current()
        live = live_champion(session.aliases, self.model)
        parent = live if live and self._goes_on_from(live) else None
        session.pins.set(self.usecase, self.date.isoformat(), self.pin, parent, session.begin())

    def parent(self) -> Reference | None:
        """The model that training goes on from; None where it begins anew.

        Raises:
            Undecided: a warm start is asked for, and no run has come to this date.
        """
        if self.training().warm_start is None:
            return None
        pin = current().pins.find(self.usecase, self.date.isoformat(), self.pin)
        if pin is None:
            raise Undecided("the champion that is live when the run starts")
        return pin.reference

    def training(self) -> Training:
        """What the settings ask for besides hyperparameters.

        Raises:
            UsageError: an algorithm of the use case's own does not have that.
        """
        asked = self.settings.training
        if asked != Training() and self.algorithm not in ALGORITHMS:
            raise UsageError(
                f"{self.algorithm} takes no options of training",
                f"`training` in the settings is for {' and '.join(ALGORITHMS)}",
                "Leave it out, or give the algorithm a horizon of its own.",
            )
        return asked

    def _goes_on_from(self, live: Reference) -> bool:
        """Whether a champion is of an earlier date, of the same kind, and not too large yet."""
        session, start = current(), self.training().warm_start
        model = session.index.manifest(live.path, live.key)
        made = model.parameters
        trees = model.metrics.get("iterations", float("inf")) + (start.iterations if start else 0)
        return (
            (model.family, model.name) == (self.family, self.usecase)
            and (made.get("algorithm"), made.get("horizon", "")) == (self.algorithm, self.horizon)
            and (model.date or "9") < self.date.isoformat()
            and model.step_version == self.settings.version(self.kind)
            and trained_on(session.store, model) == self.settings.version(Features.kind)
            and start is not None
            and trees <= start.most
        )

    def _learnt_from(self) -> dict[str, list[ArtifactTask]]:
        days = days_before(self.date, self.settings.window_days, self.settings.first_date)
        if not days:
            raise UsageError(
                f"there is nothing to train on for {self.date}",
                f"the sources of {self.usecase} begin on {self.settings.first_date}",
                "Choose a later date.",
            )
        features: list[ArtifactTask] = [
            self.sibling(Features, date=day, changes={}) for day in days
        ]
        return {"features": features, **({"search": [self.searched()]} if self.search else {})}

    def searched(self) -> ArtifactTask:
        """The search whose best hyperparameters come before those of the settings."""
        from pipelines.search import Search  # which trains its trials in turn

        task: Search = self.sibling(Search, algorithm=self.algorithm, plan=self.search)
        return task

    def parameters(self) -> Mapping[str, Any]:
        asked = self.training().parameters(warm=self.parent() is not None)
        return {
            "algorithm": self.algorithm,
            "model": self.hyperparameters(),
            "seed": self.settings.seed,
            "threads": self.settings.threads,
            **({"training": asked} if asked else {}),
            **self.at_horizon(),
        }

    @property
    def size(self) -> str:
        """The size of this algorithm's training where the use case gives one, else of all."""
        return self.settings.sizes.get(f"{self.kind}.{self.algorithm}", super().size)

    def hyperparameters(self) -> dict[str, Any]:
        """The settings of the algorithm with the changes of this run.

        Raises:
            UsageError: an unknown algorithm, in the task or in the changes; changes of no shape.
        """
        settings = self.settings
        check_names([self.algorithm], settings.algorithms)
        check_changes(self.changes, self.algorithm_names)
        return {**settings.algorithms[self.algorithm], **self.changes.get(self.algorithm, {})}


def candidate_label(label: str, algorithm: str, changes: Mapping[str, Any]) -> str:
    """A step's label with what tells its model from others, such as the trials of a search."""
    changed = changes.get(algorithm)
    values = changed.items() if isinstance(changed, Mapping) else ()
    return " ".join([label, algorithm, *(f"{name}={_short(value)}" for name, value in values)])


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def check_names(names: Iterable[str], known: Iterable[str]) -> None:
    """Raise UsageError for a name that is not known."""
    unknown = [name for name in names if name not in known]
    if unknown:
        text = ", ".join(sorted(known))
        raise UsageError(f"unknown algorithm {unknown[0]!r}", f"known are {text}", "Choose one.")


def check_changes(changes: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise UsageError unless `changes` maps algorithms, of any horizon, to hyperparameters."""
    check_names(changes, known)
    for name, change in changes.items():
        if not isinstance(change, Mapping):
            raise UsageError(
                f"the changes for {name} are {change!r}",
                "they map hyperparameters to values",
                f'For example {{"{name}": {{"learning_rate": 0.05}}}}.',
            )
