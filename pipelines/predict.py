"""Predict: the day after the logical date, scored by the model that was live after publication."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import luigi

from pipelines.errors import Undecided
from pipelines.evaluate import CHAMPION
from pipelines.features import Features
from pipelines.publish import Publish
from pipelines.session import current
from pipelines.task import ArtifactTask
from registry.artifacts.manifest import Reference
from registry.errors import NotFound

#: The name of the pin that holds the model which scores a date.
SCORER = "scorer"


class Predict(ArtifactTask):
    """Predictions for the next day. Which model makes them is a pin, set after publication."""

    kind = "predict"
    family = "predictions"

    @property
    def day(self) -> dt.date:
        """The day that is scored."""
        day: dt.date = self.date + dt.timedelta(days=1)
        return day

    def scored(self) -> Features:
        """The features of the day that is scored."""
        task: Features = self.sibling(Features, date=self.day, changes={})
        return task

    def decide(self) -> None:
        session = current()
        if session.pins.find(self.usecase, self.date.isoformat(), SCORER) is None:
            model = session.aliases.live(self.usecase, CHAMPION)
            session.pins.set(self.usecase, self.date.isoformat(), SCORER, model, session.run)

    def inputs(self) -> Mapping[str, ArtifactTask | Reference | Sequence[ArtifactTask]]:
        pin = current().pins.find(self.usecase, self.date.isoformat(), SCORER)
        if pin is None:
            raise Undecided("the publication")
        if pin.reference is None:
            raise NotFound(f"no model was live to score {self.day}", "", "Promote one first.")
        return {"model": pin.reference, "features": [self.scored()]}

    def requires(self) -> list[luigi.Task]:
        return [self.sibling(Publish), self.scored()]

    def complete(self) -> bool:
        publish: Publish = self.sibling(Publish)
        return publish.complete() and super().complete()
