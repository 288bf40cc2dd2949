"""Train: a model from the features of the days before the logical date."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import luigi

from pipelines.features import Features, days_before
from pipelines.task import ArtifactTask, AtHorizon
from registry.errors import UsageError


class Train(AtHorizon, ArtifactTask):
    """A model bundle. Threads and seed are part of its identity: both change the trees."""

    kind = "train"
    family = "model"
    algorithm = luigi.Parameter(description="one of the use case's algorithms")
    search: dict[str, Any] = luigi.DictParameter(default={}, description="plan of a search before")

    @property
    def label(self) -> str:
        return candidate_label(super().label, self.algorithm, self.changes)

    def inputs(self) -> Mapping[str, Sequence[ArtifactTask]]:
        days = days_before(self.date, self.settings.window_days, self.settings.first_date)
        if not days:
            raise UsageError(
                f"there is nothing to train on for {self.date}",
                f"the sources of {self.usecase} begin on {self.settings.first_date}",
                "Choose a later date.",
            )
        features = [self.sibling(Features, date=day, changes={}) for day in days]
        return {"features": features, **({"search": [self.searched()]} if self.search else {})}

    def searched(self) -> ArtifactTask:
        """The search whose best hyperparameters come before those of the settings."""
        from pipelines.search import Search  # which trains its trials in turn

        task: Search = self.sibling(Search, algorithm=self.algorithm, plan=self.search)
        return task

    def parameters(self) -> Mapping[str, Any]:
        return {
            "algorithm": self.algorithm,
            "model": self.hyperparameters(),
            "seed": self.settings.seed,
            "threads": self.settings.threads,
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
