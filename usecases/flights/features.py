"""Features of a flight at the *departure* horizon: what was known at its scheduled departure.

Every fact is joined by `registry.features.asof`, which sees known_at < as_of only. The schedule
and the register of aircraft are known beforehand.

A flight without a tail number is left out: in this source only cancelled flights lack it (2,512
of 8,255), so that the gap itself would give the outcome away.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from registry.errors import BadData
from registry.features.asof import Visible, visible
from registry.features.view import Column, FeatureView
from usecases.flights.settings import SETTINGS

VIEW = FeatureView(
    name="flights_departure",
    version=SETTINGS.versions["features"],
    entity="id",
    columns=(
        Column("carrier", "category"),
        Column("origin", "category"),
        Column("dest", "category"),
        Column("weekday", "int64"),
        Column("minute_of_day", "int64"),
        Column("distance", "int64"),
        Column("scheduled_minutes", "int64"),
        Column("departures_around", "int64"),
        Column("plane_age", "int64"),
        Column("plane_seats", "int64"),
        Column("plane_engines", "int64"),
        Column("temp"),
        Column("dewp"),
        Column("humid"),
        Column("wind_dir"),
        Column("wind_speed"),
        Column("wind_gust"),
        Column("precip"),
        Column("pressure"),
        Column("visib"),
        Column("aircraft_arr_delay"),
        Column("aircraft_hours_since"),
        Column("origin_dep_delay"),
        Column("origin_cancelled"),
        Column("origin_waiting"),
        Column("carrier_origin_waiting"),
        Column("carrier_origin_dep_delay"),
        Column("carrier_origin_arr_delay"),
        Column("carrier_origin_last_dep_delay"),
        Column("dest_arr_delay"),
        Column("carrier_arr_delay_day"),
        Column("flight_arr_delay_days"),
    ),
)

_WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure",
            "visib"]  # fmt: skip
_WEATHER_AGE = dt.timedelta(hours=6)
_RECENT = dt.timedelta(hours=3)
_DAY = dt.timedelta(hours=24)
_AROUND = 30 * 60 * 1_000_000  # half an hour, in microseconds
_MINUTE = 60_000_000
_HOUR = 60 * _MINUTE
_NEVER = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)

Floats = NDArray[np.float64]


def features(days: Sequence[Mapping[str, pa.Table]], date: dt.date) -> pa.Table:
    """Features of the flights of `date`, the last of `days`; earlier days are history.

    Raises:
        BadData: there are no days, or a table lacks columns.
    """
    if not days:
        raise BadData(f"no days to make features of {date} from", "", "Ingest the day first.")
    rows = days[-1]["flights"]
    rows = rows.filter(pc.is_valid(rows["tailnum"]))
    history = pa.concat_tables([day["flights"] for day in days])
    weather = pa.concat_tables([day["weather"] for day in days])
    columns = {name: rows[name] for name in ("id", "as_of")}
    columns |= _schedule(rows, history, date)
    columns |= _planes(rows, days[-1]["planes"], date)
    columns |= _weather_known(rows, weather)
    columns |= _delays(rows, history)
    return VIEW.conform(pa.table(columns))


def _schedule(
    rows: pa.Table, history: pa.Table, date: dt.date
) -> dict[str, pa.ChunkedArray | pa.Array]:
    names = ("carrier", "origin", "dest", "minute_of_day", "distance", "scheduled_minutes")
    return {
        **{name: rows[name] for name in names},
        "weekday": pa.array(np.full(rows.num_rows, date.weekday(), dtype=np.int64)),
        "departures_around": pa.array(_departures_around(rows, history)),
    }


def _departures_around(rows: pa.Table, history: pa.Table) -> NDArray[np.int64]:
    """Departures scheduled from the same airport within half an hour of each row's."""
    counts = np.zeros(rows.num_rows, dtype=np.int64)
    at, when = np.asarray(rows["origin"]), _microseconds(rows["as_of"])
    origins, times = np.asarray(history["origin"]), _microseconds(history["as_of"])
    for origin in np.unique(at):
        scheduled = np.sort(times[origins == origin])
        here = at == origin
        last = np.searchsorted(scheduled, when[here] + _AROUND, side="right")
        counts[here] = last - np.searchsorted(scheduled, when[here] - _AROUND)
    return counts


def _planes(
    rows: pa.Table, planes: pa.Table, date: dt.date
) -> dict[str, pa.ChunkedArray | pa.Array]:
    index = pc.index_in(rows["tailnum"], value_set=planes["tailnum"])
    found = planes.take(index)
    return {
        "plane_age": pc.subtract(date.year, found["year"]),
        "plane_seats": found["seats"],
        "plane_engines": found["engines"],
    }


def _weather_known(rows: pa.Table, weather: pa.Table) -> dict[str, pa.Array]:
    latest = visible(rows, weather, by=["origin"], within=_WEATHER_AGE).latest
    return {name: _nullable(_pick(_floats(weather[name]), latest)) for name in _WEATHER}


def _delays(rows: pa.Table, history: pa.Table) -> dict[str, pa.Array]:
    arrival, departure = _floats(history["arr_delay"]), _floats(history["dep_delay"])
    cancelled = _floats(pc.cast(history["cancelled"], pa.float64()))

    def arrivals(by: list[str], within: dt.timedelta | None = None) -> Visible:
        return visible(rows, history, by=by, within=within)

    def departures(by: list[str], within: dt.timedelta) -> Visible:
        return visible(rows, history, by=by, within=within, known_at="departed_at")

    aircraft = visible(rows, _arrived(history), by=["tailnum"])
    since = _microseconds(rows["as_of"]) - _pick_times(_arrived(history), aircraft.latest)
    own = _pick(_floats(_arrived(history)["arr_delay"]), aircraft.latest)
    airline = ["carrier", "origin"]
    columns = {
        "aircraft_arr_delay": own,
        "aircraft_hours_since": np.where(np.isnan(own), np.nan, since / _HOUR),
        "origin_dep_delay": departures(["origin"], _RECENT).mean(departure),
        "origin_cancelled": arrivals(["origin"], 2 * _RECENT).mean(cancelled),
        "origin_waiting": _waiting(rows, history, ["origin"]),
        "carrier_origin_waiting": _waiting(rows, history, airline),
        "carrier_origin_dep_delay": departures(airline, _RECENT).mean(departure),
        "carrier_origin_arr_delay": arrivals(airline, 2 * _RECENT).mean(arrival),
        "carrier_origin_last_dep_delay": _pick(departure, departures(airline, _DAY).latest),
        "dest_arr_delay": arrivals(["dest"], 2 * _RECENT).mean(arrival),
        "carrier_arr_delay_day": arrivals(["carrier"], _DAY).mean(arrival),
        "flight_arr_delay_days": arrivals(["carrier", "flight"]).mean(arrival),
    }
    return {name: _nullable(values) for name, values in columns.items()}


def _waiting(rows: pa.Table, history: pa.Table, by: list[str]) -> Floats:
    """Mean minutes that the flights scheduled in the last three hours have waited so far.

    A flight that has left before `as_of` waited its departure delay; one that has not, the time
    since its schedule. So a queue shows that departures alone would hide until it moves.
    """
    seen = visible(rows, history, by=by, within=_RECENT, known_at="as_of")
    scheduled = _microseconds(history["as_of"])[seen.order]
    departed = _microseconds(pc.fill_null(history["departed_at"], _NEVER))[seen.order]
    waited = np.full(rows.num_rows, np.nan)
    now = _microseconds(rows["as_of"])
    for row in np.flatnonzero(seen.count):
        part = slice(seen.start[row], seen.stop[row])
        until = np.where(departed[part] < now[row], departed[part], now[row])
        waited[row] = (until - scheduled[part]).mean() / _MINUTE
    return waited


def _arrived(history: pa.Table) -> pa.Table:
    return history.filter(pc.is_valid(history["arr_delay"]))


def _pick(values: Floats, indices: NDArray[np.int64]) -> Floats:
    """values[indices], NaN where the index is -1."""
    return np.append(values, np.nan)[indices]


def _pick_times(events: pa.Table, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.append(_microseconds(events["known_at"]), 0)[indices]


def _floats(column: pa.ChunkedArray) -> Floats:
    return np.asarray(pc.cast(column, pa.float64()).to_numpy(), dtype=np.float64)


def _microseconds(column: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.asarray(pc.cast(column, pa.int64()).to_numpy(), dtype=np.int64)


def _nullable(values: Floats) -> pa.Array:
    return pa.array(values, pa.float64(), mask=np.isnan(values))
