"""When a schedule ticks, and which clock it goes by. All times are UTC."""

from __future__ import annotations

import datetime as dt
import re
import threading
from dataclasses import dataclass
from typing import Protocol

from registry.errors import UsageError

_DURATION = re.compile(r"(?P<count>[1-9][0-9]{0,5})?(?P<unit>s|m|h|d|day|hour)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400}
#: How Nomad calls a launch of a periodic job: the job's id, and the second it was due.
_LAUNCH = re.compile(r".+/periodic-(?P<second>[1-9][0-9]{0,11})")
_AT = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_DAY = dt.timedelta(days=1)


def duration(text: str) -> dt.timedelta:
    """`90s`, `30m`, `3h`, `2d`, or one `hour` or `day`. Raises UsageError."""
    match = _DURATION.fullmatch(text)
    if match is None or (match["count"] is None and len(match["unit"]) == 1):
        raise UsageError(f"{text!r} is no duration", "", "Write 90s, 30m, 3h, 2d, hour or day.")
    return dt.timedelta(seconds=int(match["count"] or 1) * _SECONDS[match["unit"]])


def time_of_day(text: str) -> dt.timedelta:
    """`06:30` as the time since midnight. Raises UsageError."""
    match = _AT.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no time of day", "", "Write it as 06:30, in UTC.")
    return dt.timedelta(hours=int(match[1]), minutes=int(match[2]))


@dataclass(frozen=True)
class Cadence:
    """Ticks every `every`, one of them at `at` after midnight.

    Raises:
        UsageError: `every` does not divide a day, so that ticks would wander.
    """

    every: dt.timedelta
    at: dt.timedelta = dt.timedelta()

    def __post_init__(self) -> None:
        if _DAY % self.every:
            raise UsageError(
                f"{self.every} does not divide a day", "", "Use day, 12h, 6h, 3h, hour, 30m, …"
            )

    def last(self, moment: dt.datetime) -> dt.datetime:
        """The tick at `moment`, or the one before it."""
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        return moment - (moment - midnight - self.at) % self.every

    def after(self, moment: dt.datetime) -> dt.datetime:
        """The first tick after `moment`."""
        return self.last(moment) + self.every


def logical_date(tick: dt.datetime, lag: dt.timedelta = dt.timedelta()) -> dt.date:
    """The date that a run at `tick` is for: the last day that was over `lag` ago."""
    return (tick - lag).date() - _DAY


def launch_of(job: str) -> dt.datetime | None:
    """The tick that Nomad launched a periodic job for, from the job's id; None for other jobs.

    The id is the truth: a launch that had to wait for room, or that is started again, may begin on
    another day.
    """
    match = _LAUNCH.fullmatch(job)
    return dt.datetime.fromtimestamp(int(match["second"]), dt.UTC) if match else None


class Clock(Protocol):
    """Tells the time, and waits."""

    def now(self) -> dt.datetime:
        """The present moment, in UTC."""

    def wait(self, until: dt.datetime) -> bool:
        """Return at `until`, or False as soon as the schedule is to end."""


class SystemClock:
    """The time of this machine."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    def wait(self, until: dt.datetime) -> bool:
        # In pieces, since a laptop that slept has not counted the seconds.
        while (left := (until - self.now()).total_seconds()) > 0:
            if self._stop.wait(min(left, 30.0)):
                return False
        return not self._stop.is_set()


class PretendClock:
    """A clock that stands still while there is work, and then jumps to the next tick."""

    def __init__(self, start: dt.datetime, stop: threading.Event) -> None:
        self._now = start
        self._stop = stop

    def now(self) -> dt.datetime:
        return self._now

    def wait(self, until: dt.datetime) -> bool:
        self._now = max(self._now, until)
        return not self._stop.is_set()
