"""What features are made from: columns for rows with an `as_of`, at whatever horizon.

`rows` are flights to predict, whose `as_of` is the moment of the prediction; `history` are the
flights of the last days and of the day itself, whose `as_of` is the scheduled departure. Every
fact is joined by `registry.features.asof`, which sees known_at < as_of only. The schedule is known
beforehand.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from registry.errors import BadData
from registry.features.asof import Visible, visible
from usecases.flights.label import LATE_MINUTES

WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure",
           "visib"]  # fmt: skip
RECENT = dt.timedelta(hours=3)
DAY = dt.timedelta(hours=24)
_WEATHER_AGE = dt.timedelta(hours=6)
_AROUND = 30 * 60 * 1_000_000  # half an hour, in microseconds
_MINUTE = 60_000_000
_HOUR = 60 * _MINUTE
_NEVER = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)

Floats = NDArray[np.float64]
Columns = dict[str, pa.ChunkedArray | pa.Array]
Tables = Sequence[Mapping[str, pa.Table]]


def flights_of(days: Tables, date: dt.date) -> tuple[pa.Table, pa.Table]:
    """The flights of `date`, the last of `days`, and those of all days.

    A flight without a tail number is left out of the first: in this source only cancelled flights
    lack it (2,512 of 8,255), so that the gap itself would give the outcome away.

    Raises:
        BadData: there are no days.
    """
    if not days:
        raise BadData(f"no days to make features of {date} from", "", "Ingest the day first.")
    flights = days[-1]["flights"]
    history = pa.concat_tables([day["flights"] for day in days])
    late = pc.fill_null(pc.greater_equal(history["arr_delay"], LATE_MINUTES), False)
    late = pc.or_(late, pc.or_(history["cancelled"], history["diverted"]))
    history = history.append_column("late", pc.cast(late, pa.float64()))
    return flights.filter(pc.is_valid(flights["tailnum"])), history


def schedule(rows: pa.Table, date: dt.date) -> Columns:
    """What the timetable says of each flight."""
    names = ("carrier", "origin", "dest", "minute_of_day", "distance", "scheduled_minutes")
    return {
        **{name: rows[name] for name in names},
        "weekday": pa.array(np.full(rows.num_rows, date.weekday(), dtype=np.int64)),
    }


def departures_around(scheduled: pa.Table, history: pa.Table) -> NDArray[np.int64]:
    """Departures from the same airport scheduled within half an hour of each of `scheduled`."""
    counts = np.zeros(scheduled.num_rows, dtype=np.int64)
    at, when = np.asarray(scheduled["origin"]), microseconds(scheduled["as_of"])
    origins, times = np.asarray(history["origin"]), microseconds(history["as_of"])
    for origin in np.unique(at):
        known = np.sort(times[origins == origin])
        here = at == origin
        last = np.searchsorted(known, when[here] + _AROUND, side="right")
        counts[here] = last - np.searchsorted(known, when[here] - _AROUND)
    return counts


def latest_weather(rows: pa.Table, weather: pa.Table, names: Iterable[str] = WEATHER) -> Columns:
    """The newest weather known at the origin, if it is of the last six hours."""
    latest = visible(rows, weather, by=["origin"], within=_WEATHER_AGE).latest
    return {name: nullable(pick(floats(weather[name]), latest)) for name in names}


class Delays:
    """Delays, cancellations and queues as each of `rows` may know them."""

    def __init__(self, rows: pa.Table, history: pa.Table) -> None:
        self._rows = rows
        self._history = history
        self._arrival = floats(history["arr_delay"])
        self._departure = floats(history["dep_delay"])
        self._late = floats(history["late"])
        self._cancelled = floats(pc.cast(history["cancelled"], pa.float64()))

    def arrival(self, by: list[str], within: dt.timedelta | None = None) -> Floats:
        """Mean arrival delay in minutes of the flights whose arrival was known.

        Of all days in the history, unless `within` says how long ago at most.
        """
        return self._ended(by, within).mean(self._arrival)

    def late(self, by: list[str], within: dt.timedelta | None = None) -> Floats:
        """Share of late flights, as the label has it, among those whose outcome was known."""
        return self._ended(by, within).mean(self._late)

    def cancelled(self, by: list[str], within: dt.timedelta) -> Floats:
        """Share of cancelled flights among those whose outcome was known."""
        return self._ended(by, within).mean(self._cancelled)

    def departure(self, by: list[str], within: dt.timedelta) -> Floats:
        """Mean departure delay in minutes of the flights that had left."""
        return self._left(by, within).mean(self._departure)

    def last_departure(self, by: list[str], within: dt.timedelta) -> Floats:
        """Departure delay in minutes of the flight that had left last."""
        return pick(self._departure, self._left(by, within).latest)

    def aircraft(self) -> tuple[Floats, Floats]:
        """The same aircraft's last known arrival delay in minutes, and hours since then."""
        arrived = self._history.filter(pc.is_valid(self._history["arr_delay"]))
        latest = visible(self._rows, arrived, by=["tailnum"]).latest
        delay = pick(floats(arrived["arr_delay"]), latest)
        known = np.append(microseconds(arrived["known_at"]), 0)[latest]
        hours = (microseconds(self._rows["as_of"]) - known) / _HOUR
        return delay, np.where(np.isnan(delay), np.nan, hours)

    def waiting(self, by: list[str]) -> Floats:
        """Mean minutes that the flights scheduled in the last three hours have waited so far.

        A flight that has left before `as_of` waited its departure delay; one that has not, the
        time since its schedule. So a queue shows that departures alone would hide until it moves.
        """
        rows, history = self._rows, self._history
        seen = visible(rows, history, by=by, within=RECENT, known_at="as_of")
        scheduled = microseconds(history["as_of"])[seen.order]
        departed = microseconds(pc.fill_null(history["departed_at"], _NEVER))[seen.order]
        waited = np.full(rows.num_rows, np.nan)
        now = microseconds(rows["as_of"])
        for row in np.flatnonzero(seen.count):
            part = slice(seen.start[row], seen.stop[row])
            until = np.where(departed[part] < now[row], departed[part], now[row])
            waited[row] = (until - scheduled[part]).mean() / _MINUTE
        return waited

    def _ended(self, by: list[str], within: dt.timedelta | None) -> Visible:
        return visible(self._rows, self._history, by=by, within=within)

    def _left(self, by: list[str], within: dt.timedelta) -> Visible:
        return visible(self._rows, self._history, by=by, within=within, known_at="departed_at")


def pick(values: Floats, indices: NDArray[np.int64]) -> Floats:
    """values[indices], NaN where the index is -1."""
    return np.append(values, np.nan)[indices]


def floats(column: pa.ChunkedArray) -> Floats:
    """Numbers as float64, NaN where there is none."""
    return np.asarray(pc.cast(column, pa.float64()).to_numpy(), dtype=np.float64)


def microseconds(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Times as microseconds since 1970."""
    return np.asarray(pc.cast(column, pa.int64()).to_numpy(), dtype=np.int64)


def nullable(values: Floats) -> pa.Array:
    """float64 with nulls in place of NaN."""
    return pa.array(values, pa.float64(), mask=np.isnan(values))
