"""Predict: the day after the logical date, scored by the model that was live after publication."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import luigi

from pipelines.champion import CHAMPION
from pipelines.errors import Undecided
from pipelines.features import Features
from pipelines.publish import Publish
from pipelines.session import current
from pipelines.task import ArtifactTask
from registry.artifacts.manifest import Reference
from registry.errors import NotFound

#: The pin that holds the model which scores a date, followed by the candidate it was set after.
SCORER = "scorer"


class Predict(ArtifactTask):
    """Predictions for the next day, at the use case's last horizon.

    Which model makes them is a pin, set after publication. The last step of a date: it comes after
    the verdicts at every horizon.
    """

    kind = "predict"
    family = "predictions"

    @property
    def day(self) -> dt.date:
        """The day that is scored."""
        day: dt.date = self.date + dt.timedelta(days=1)
        return day

    def scored(self) -> Features:
        """The features of the day that is scored."""
        task: Features = self.sibling(
            Features, date=self.day, changes={}, horizon=self.horizons[-1]
        )
        return task

    def publication(self) -> Publish:
        """The verdict that says which model predicts: on the last horizon's best candidate."""
        return self.publications()[-1]

    def publications(self) -> list[Publish]:
        """The verdicts of the date, one for each horizon."""
        return [self.sibling(Publish, horizon=name) for name in self.horizons]

    @property
    def horizons(self) -> list[str]:
        """The names of the use case's horizons; predictions are made at the last one."""
        return self.settings.horizon_names

    def parameters(self) -> Mapping[str, Any]:
        publication = self.publication()
        infinite = sorted(publication.settings.quarantine.infinite)
        return {**publication.at_horizon(), **({"infinite": infinite} if infinite else {})}

    def pin(self) -> str:
        """The name of this step's pin. Another candidate for the date has a pin of its own.

        Raises:
            Undecided: the candidates are not evaluated yet.
        """
        return f"{SCORER}-{self.publication().best().candidate().recipe.key[:16]}"

    def decide(self) -> None:
        session, date = current(), self.date.isoformat()
        if session.pins.find(self.usecase, date, self.pin()) is None:
            session.pins.set(self.usecase, date, self.pin(), self.live(), session.run)

    def live(self) -> Reference:
        """The model that is live after the verdict of this date.

        In a backfill that is the verdict's own: later dates may have been decided meanwhile.

        Raises:
            NotFound: none is.
        """
        session = current()
        if not session.order.dates:
            return session.aliases.live(self.publication().model, CHAMPION)
        verdict = self.publication().verdict()
        if verdict is None or verdict.live is None:
            raise NotFound(
                f"no model of {self.publication().model} was live after the verdict of {self.date}",
                "no candidate had passed the gate by then",
                f"Promote one, then `penstock run {self.usecase} --date {self.date}`.",
            )
        return verdict.live

    def scorer(self) -> Reference:
        """The model that scores. Raises Undecided while it is not pinned."""
        pin = current().pins.find(self.usecase, self.date.isoformat(), self.pin())
        if pin is None or pin.reference is None:
            raise Undecided("the publication")
        return pin.reference

    def shards(self) -> list[PredictShard]:
        """The shards that the use case declares; none where the rows are scored at once."""
        count = self.publication().settings.shards
        return [self.sibling(PredictShard, shard=n, of=count) for n in range(count) if count > 1]

    def inputs(self) -> Mapping[str, ArtifactTask | Reference | Sequence[ArtifactTask]]:
        shards = self.shards()
        return {"model": self.scorer(), **({"shards": shards} if shards else self.days())}

    def days(self) -> Mapping[str, Sequence[ArtifactTask]]:
        """What is scored, by role."""
        return {"features": [self.scored()]}

    def requires(self) -> list[luigi.Task]:
        scored: Sequence[ArtifactTask] = self.shards() or [self.scored()]
        return [*self.publications(), *scored]

    def complete(self) -> bool:
        return all(task.complete() for task in self.publications()) and super().complete()


class PredictShard(ArtifactTask):
    """One of the shards of a prediction: a run of the row groups of its features.

    An artifact of its own, so that a run that comes after a crash makes what is missing.
    """

    kind = "predict"
    family = "shard"
    shard = luigi.IntParameter(description="which shard, counted from 0")
    of = luigi.IntParameter(description="how many shards there are")

    @property
    def label(self) -> str:
        return f"predict {self.usecase} {self.date} {self.shard + 1}/{self.of}"

    def whole(self) -> Predict:
        """The prediction that this is a shard of."""
        task: Predict = self.sibling(Predict)
        return task

    def inputs(self) -> Mapping[str, ArtifactTask | Reference | Sequence[ArtifactTask]]:
        return {"model": self.whole().scorer(), **self.whole().days()}

    def parameters(self) -> Mapping[str, Any]:
        return {**self.whole().parameters(), "shard": self.shard, "shards": self.of}

    def decide(self) -> None:
        self.whole().decide()

    def requires(self) -> list[luigi.Task]:
        return [*self.whole().publications(), self.whole().scored()]
