"""Evaluate: a model on the day after its window, beside the base rate of that window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import luigi

from pipelines.champion import CHAMPION, live_champion
from pipelines.errors import JobFailed, Undecided
from pipelines.features import Features, days_before
from pipelines.pins import Pin
from pipelines.runners.states import Kind
from pipelines.session import current
from pipelines.task import ArtifactTask, AtHorizon
from pipelines.train import Train, candidate_label
from registry.artifacts.manifest import Reference


class Evaluate(AtHorizon, ArtifactTask):
    """Metrics and report of one candidate on the logical date."""

    kind = "evaluate"
    family = "evaluation"
    algorithm = luigi.Parameter(description="one of the use case's algorithms")
    search: dict[str, Any] = luigi.DictParameter(default={}, description="plan of a search before")

    @property
    def label(self) -> str:
        return candidate_label(super().label, self.algorithm, self.changes)

    def candidate(self) -> Train:
        """The task whose model is evaluated."""
        train: Train = self.sibling(Train, algorithm=self.algorithm, search=self.search)
        return train

    def inputs(self) -> Mapping[str, ArtifactTask | Reference | Sequence[ArtifactTask]]:
        return {"model": self.candidate(), **evaluation_days(self)}

    def parameters(self) -> Mapping[str, Any]:
        return self.at_horizon()


class Contest(AtHorizon):
    """A step about all candidates of a date; `searches` maps algorithms to plans of searches."""

    searches: dict[str, Any] = luigi.DictParameter(default={}, description="plan by algorithm")

    def evaluations(self) -> list[Evaluate]:
        """One evaluation for each algorithm, after the search that is asked for or declared."""
        searches = self.searches or self.settings.searches
        return [
            self.sibling(Evaluate, algorithm=name, search=searches.get(name, {}))
            for name in sorted(self.settings.algorithms)
        ]


class EvaluateChampion(Contest, ArtifactTask):
    """Metrics of the champion that was live when a run first came to this date.

    Its report shows the candidates beside it.
    """

    kind = "evaluate"
    family = "evaluation"

    @property
    def label(self) -> str:
        return f"evaluate {self.usecase} {self.date} {self.horizon} champion".replace("  ", " ")

    @property
    def pin(self) -> str:
        """The name of the pin that holds the champion; each horizon has one."""
        return f"{CHAMPION}-{self.horizon}".rstrip("-")

    def parameters(self) -> Mapping[str, Any]:
        return {**self.at_horizon(), "rivals": [task.algorithm for task in self.evaluations()]}

    def decide(self) -> None:
        live = live_champion(current().aliases, self.model)
        session = current()
        session.pins.set(self.usecase, self.date.isoformat(), self.pin, live, session.begin())

    def champion(self) -> Reference | None:
        """The pinned champion; None when there was none. Raises Undecided before the pin."""
        pin = self._pinned(self.pin)
        if pin is None:
            raise Undecided("the champion that is live when the run starts")
        return pin.reference

    def inputs(self) -> Mapping[str, ArtifactTask | Reference | Sequence[ArtifactTask]]:
        champion = self.champion()
        if champion is None:
            raise Undecided("nobody: there was no champion to compare with")
        return {"model": champion, "rivals": self.evaluations(), **evaluation_days(self)}

    def requires(self) -> list[luigi.Task]:
        """Days and candidates alone: they are known before the champion is.

        In a backfill the verdict of the date before comes first, since it may name the champion.
        """
        days = evaluation_days(self)
        before = current().order.before(self.date, self.horizon)
        return [*days["features"], *days["window"], *self.evaluations(), *before]

    def is_incomparable(self) -> bool:
        """Whether the champion could not be evaluated on these days.

        It has other inputs than the features of today, say, or was imported. The verdict on the
        candidate must not hang on it for ever.
        """
        return self._pinned(self._incomparable()) is not None

    def complete(self) -> bool:
        try:
            if self.champion() is None or super().complete():
                return True
            return self.is_incomparable()
        except Undecided:
            return False

    def run(self) -> None:
        session = current()
        session.begin()
        self.decide()
        champion = self.champion()
        if champion is None:
            return
        try:
            super().run()
        except JobFailed as failure:
            if failure.failure is not Kind.BAD_DATA:
                raise
            date, what = self.date.isoformat(), self._incomparable()
            session.pins.set(self.usecase, date, what, champion, session.run)
            session.observer.decided(self.label, f"not comparable: {failure.why}")

    def _incomparable(self) -> str:
        """A pin for each recipe: other days, or a mended one, are a new chance to compare."""
        return f"incomparable-{self.recipe.key[:16]}"

    def _pinned(self, what: str) -> Pin | None:
        return current().pins.find(self.usecase, self.date.isoformat(), what)


def evaluation_days(task: ArtifactTask) -> dict[str, Sequence[ArtifactTask]]:
    """The features of the logical date, and of the window that the base rate is taken from."""
    settings = task.settings
    window = days_before(task.date, settings.window_days, settings.first_date)
    return {
        "features": [task.sibling(Features, changes={})],
        "window": [task.sibling(Features, date=day, changes={}) for day in window],
    }
