"""Ingest: the sources of one day, frozen as an artifact."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.task import ArtifactTask
from registry.errors import UsageError


class Ingest(ArtifactTask):
    """The source tables of one day, as they were known to the snapshot of the source."""

    kind = "ingest"
    family = "source"

    def externals(self) -> Mapping[str, str]:
        first, last = self.settings.first_date, self.settings.last_date
        if not first <= self.date <= last:
            raise UsageError(
                f"there are no data of {self.usecase} for {self.date}",
                f"its sources cover {first} to {last}",
                "Choose a date whose window and following day lie in that range.",
            )
        return self.settings.snapshot()
