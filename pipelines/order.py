"""The order of dates within one run: what a backfill adds to the steps of each date.

Data, features, models and evaluations of different dates know nothing of each other. Comparison
and verdict do: the champion that a date is compared with is the one that the date before left. So
these follow one another, oldest first, whatever else runs side by side.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import luigi


@dataclass(frozen=True)
class DateOrder:
    """The dates of a run, rising, and the verdict of each at each horizon, by the horizon's name.

    Without dates nothing has an order.

    `newest_first` says which dates' work is started first where there is a choice. Verdicts are
    given in the order of dates in either case.
    """

    dates: tuple[dt.date, ...] = ()
    verdicts: Mapping[tuple[dt.date, str], luigi.Task] = field(default_factory=dict)
    newest_first: bool = False

    def before(self, date: dt.date, horizon: str) -> list[luigi.Task]:
        """The verdict that must stand before the champion of `date` is known, if there is one."""
        earlier = (date - dt.timedelta(days=1), horizon)
        known = (date, horizon) in self.verdicts and earlier in self.verdicts
        return [self.verdicts[earlier]] if known else []

    def priority(self, date: dt.date) -> int:
        """How early the work of `date` is started; Luigi takes the highest first."""
        if not self.dates:
            return 0
        return (date - self.dates[0]).days if self.newest_first else (self.dates[-1] - date).days
