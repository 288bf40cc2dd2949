"""Train: a model from the features of the days before the logical date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import luigi

from pipelines.features import Features, days_before
from pipelines.task import ArtifactTask
from registry.errors import UsageError


class Train(ArtifactTask):
    """A model bundle. Threads and seed are part of its identity: both change the trees."""

    kind = "train"
    family = "model"
    algorithm = luigi.Parameter(description="one of the use case's algorithms")

    @property
    def label(self) -> str:
        return f"{super().label} {self.algorithm}"

    def inputs(self) -> Mapping[str, Sequence[ArtifactTask]]:
        days = days_before(self.date, self.settings.window_days, self.settings.first_date)
        if not days:
            raise UsageError(
                f"there is nothing to train on for {self.date}",
                f"the sources of {self.usecase} begin on {self.settings.first_date}",
                "Choose a later date.",
            )
        return {"features": [self.sibling(Features, date=day, changes={}) for day in days]}

    def parameters(self) -> Mapping[str, Any]:
        return {
            "algorithm": self.algorithm,
            "model": hyperparameters(self.settings.algorithms, self.algorithm, self.changes),
            "seed": self.settings.seed,
            "threads": self.settings.threads,
        }


def hyperparameters(
    algorithms: Mapping[str, Mapping[str, Any]], algorithm: str, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings of `algorithm` with the changes of this run.

    Raises:
        UsageError: an unknown algorithm, in the task or in the changes; changes of no shape.
    """
    for name, change in {algorithm: {}, **changes}.items():
        if name not in algorithms:
            known = ", ".join(sorted(algorithms))
            raise UsageError(f"unknown algorithm {name!r}", f"known are {known}", "Choose one.")
        if not isinstance(change, Mapping):
            raise UsageError(
                f"the changes for {name} are {change!r}",
                "they map hyperparameters to values",
                f'For example {{"{name}": {{"learning_rate": 0.05}}}}.',
            )
    return {**algorithms[algorithm], **changes.get(algorithm, {})}
