"""Search: which hyperparameters do best on days before the logical date?

Trials are ordinary models and evaluations, as of the days before, so that they run side by side,
are found again, and the day that decides about publication has no part in the choice. What is
trained afterwards hangs on the search: its key is known before anything has run.

By halving, all trials are trained for a few rounds and the best go on to more. Who goes on is
decided on the way, from what is committed; so a run that was killed comes to the same, and makes
what is missing. The key covers what every rung could evaluate.
"""

from __future__ import annotations

import datetime as dt
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import luigi

from pipelines.evaluate import Evaluate
from pipelines.halving import Halving
from pipelines.session import current
from pipelines.task import ArtifactTask, AtHorizon
from pipelines.train import check_names
from pipelines.trials import trials_of
from registry import halving as rule
from registry.artifacts.attempt import JobSpec, RecipeRecord
from registry.artifacts.manifest import Reference

#: The evaluations of a trial, one for each day.
Days = list[Evaluate]


class Search(AtHorizon, ArtifactTask):
    """The trials of one algorithm, and the best of them.

    `plan` holds `space` (hyperparameter → list of values, or {"low", "high"} with "log" for a
    range), `random` (so many trials drawn, 0 for the whole grid), `seed`, `days` (how many days
    before the date each trial is evaluated on) and `halving` ({"eta", "rungs"}; absent for whole
    trainings only). Trial 0 is always what the settings say.
    """

    kind = "search"
    family = "search"
    algorithm = luigi.Parameter(description="one of the use case's algorithms")
    plan: dict[str, Any] = luigi.DictParameter(description="space, random, seed, days, halving")

    @property
    def label(self) -> str:
        return f"{super().label} {self.algorithm}"

    def trials(self) -> list[dict[str, Any]]:
        """Hyperparameters of each trial, besides those that the settings give."""
        return self._trials

    @functools.cached_property
    def _trials(self) -> list[dict[str, Any]]:
        return [{}, *trials_of(self.plan)]

    def days(self) -> list[dt.date]:
        """The days that trials are evaluated on, oldest first."""
        count = int(self.plan.get("days", 1))
        return [self.date - dt.timedelta(days=back) for back in range(count, 0, -1)]

    @functools.cached_property
    def halving(self) -> Halving | None:
        """How the search halves; None where every trial is trained to the end."""
        return Halving.of(self.plan, len(self.trials()))

    @property
    def rungs(self) -> int:
        """How many rungs there are: one where nothing is halved."""
        return self.halving.rungs if self.halving else 1

    def evaluations(self, rung: int = -1) -> list[Days]:
        """For each trial its evaluation on each day, trained for as long as on a rung; the last."""
        rung %= self.rungs
        return [
            [self._evaluation(trial, rung, day) for day in self.days()] for trial in self.trials()
        ]

    def members(self, rung: int) -> list[int]:
        """The trials that are evaluated on a rung, by number; the rungs before must be complete."""
        chosen = list(range(len(self.trials())))
        for before in range(rung):
            chosen = self._survivors(chosen, self.evaluations(before))
        last = rung == self.rungs - 1
        return rule.members_of_last(chosen) if last else chosen

    def decided(self) -> Iterator[list[Days]]:
        """The evaluations of each rung, as far as the rungs before are complete."""
        for rung in range(self.rungs):
            evaluations = self.evaluations(rung)
            chosen = [evaluations[trial] for trial in self.members(rung)]
            yield chosen
            if not all(task.complete() for task in itertools.chain(*chosen)):
                return

    def inputs(self) -> Mapping[str, Sequence[ArtifactTask]]:
        """What each rung could evaluate, which decides what is found; see `spec`."""
        return {
            rule.role(rung): list(itertools.chain.from_iterable(self.evaluations(rung)))
            for rung in range(self.rungs)
        }

    def parameters(self) -> Mapping[str, Any]:
        return {
            "algorithm": self.algorithm,
            "trials": self.trials(),
            **self._halved(),
            **self.at_horizon(),
        }

    def requires(self) -> list[luigi.Task]:
        """The first rung; the others are known on the way."""
        return list(itertools.chain.from_iterable(self.evaluations(0)))

    def foreseen(self) -> list[luigi.Task]:
        return [task for rung in self.decided() for task in itertools.chain(*rung)]

    def run(self) -> Iterator[list[Evaluate]]:  # type: ignore[override]  # Luigi takes both
        """Have each rung evaluated, then the job make its table of them."""
        current().begin()
        for rung in self.decided():
            yield list(itertools.chain(*rung))
        super().run()

    def spec(self) -> JobSpec:
        """The references are the evaluations that were made; the recipe has those there could be."""
        references: dict[str, Reference | list[Reference]] = {
            rule.role(rung): [task.reference() for task in itertools.chain(*chosen)]
            for rung, chosen in enumerate(self.decided())
        }
        return JobSpec(self.kind, RecipeRecord.of(self.recipe), references)

    def _halved(self) -> dict[str, Any]:
        """The significant parameter; absent where nothing is halved."""
        halving = self.halving
        if halving is None:
            return {}
        models = [self._model(trial) for trial in self.trials()]
        rounds = [
            [halving.rounds(self.algorithm, model, rung)[1] for model in models]
            for rung in range(halving.rungs)
        ]
        return {"halving": {"eta": halving.eta, "rounds": rounds}}

    def _model(self, trial: Mapping[str, Any]) -> dict[str, Any]:
        """All hyperparameters of a trial. Raises UsageError for an unknown algorithm."""
        check_names([self.algorithm], self.settings.algorithms)
        own = self.settings.algorithms[self.algorithm]
        return {**own, **self.changes.get(self.algorithm, {}), **trial}

    def _survivors(self, members: list[int], evaluations: list[Days]) -> list[int]:
        halving = self.halving
        scores = [_score(evaluations[trial]) for trial in members]
        return rule.survivors(members, scores, halving.eta) if halving else members

    def _evaluation(self, trial: Mapping[str, Any], rung: int, day: dt.date) -> Evaluate:
        halving = self.halving
        budget = halving.budget(self.algorithm, self._model(trial), rung) if halving else {}
        own = {**self.changes.get(self.algorithm, {}), **trial, **budget}
        task: Evaluate = self.sibling(
            Evaluate, date=day, algorithm=self.algorithm, changes={self.algorithm: own}
        )
        return task


def _score(evaluations: Days) -> float:
    manifests = [current().index.manifest_of(task.recipe) for task in evaluations]
    infinite = float("inf")
    return rule.score((m.metrics.get("log_loss", infinite), m.rows or 0) for m in manifests)
