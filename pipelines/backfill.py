"""A backfill: one run over many dates, with one run record.

Interrupted at any point and run again, it ends with the same artifacts as one that was not: what
is there is used again, champions and scorers are pinned, and verdicts stand in the log.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import msgspec

from pipelines.errors import Undecided
from pipelines.order import DateOrder
from pipelines.plan import is_complete
from pipelines.predict import Predict
from pipelines.publish import outcome
from pipelines.run import root_task
from pipelines.session import Session, using
from registry.errors import UsageError


class Day(msgspec.Struct, frozen=True):
    """How one date stands: its verdict in words, and whether its predictions are there."""

    date: str
    verdict: str | None
    predicted: bool


def dates_between(first: dt.date, last: dt.date) -> list[dt.date]:
    """Every day from `first` to `last`, both included. Raises UsageError when there is none."""
    if first > last:
        raise UsageError(f"{first} lies after {last}", "", "Give --from the earlier date.")
    return [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]


def roots_between(
    usecase: str, first: dt.date, last: dt.date, changes: Mapping[str, Any] | None = None
) -> list[Predict]:
    """The last step of each date, oldest first."""
    return [root_task(usecase, date, changes) for date in dates_between(first, last)]


def order_of(roots: list[Predict], *, newest_first: bool = False) -> DateOrder:
    """The order in which the dates of `roots` are worked on and decided."""
    verdicts = {(task.date, task.horizon): task for root in roots for task in root.publications()}
    return DateOrder(tuple(root.date for root in roots), verdicts, newest_first)


def standing(session: Session, roots: list[Predict]) -> list[Day]:
    """How each date stands now, oldest first."""
    with using(session):
        return [_day(root) for root in roots]


def _day(root: Predict) -> Day:
    found = [(task.horizon, task.verdict()) for task in root.publications()]
    decided = [f"{name}: {outcome(it)}".removeprefix(": ") for name, it in found if it]
    try:
        predicted = is_complete(root)
    except Undecided:
        predicted = False
    return Day(root.date.isoformat(), "; ".join(decided) or None, predicted)
