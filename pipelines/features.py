"""Features: one day of features and labels, from the sources of that day and those before."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.ingest import Ingest
from pipelines.task import ArtifactTask, AtHorizon


class Features(AtHorizon, ArtifactTask):
    """The features of one day at one horizon; only what was known before each row's `as_of` enters."""

    kind = "features"
    family = "features"

    def inputs(self) -> Mapping[str, Sequence[ArtifactTask]]:
        days = days_before(self.date, self.settings.lookback_days, self.settings.first_date)
        # Hyperparameters change nothing here: without them, all runs share these steps.
        return {"days": [self.sibling(Ingest, date=day, changes={}) for day in [*days, self.date]]}

    def parameters(self) -> Mapping[str, Any]:
        return {"lookback_days": self.settings.lookback_days, **self.at_horizon()}


def days_before(date: dt.date, count: int, first: dt.date) -> list[dt.date]:
    """The `count` days before `date`, oldest first, those before `first` left out."""
    days = [date - dt.timedelta(days=back) for back in range(count, 0, -1)]
    return [day for day in days if day >= first]
