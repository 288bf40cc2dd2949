"""What an evening tells of the day after as a whole: its timetable, the last hours, the weather.

Each of these is one number for all flights of a day. A window holds few days to learn them from, so
their names begin with `day_`, and the model is told to trust them less (`SETTINGS`).
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from usecases.flights.facts import Floats, floats

_PRIOR = 20.0
_HOUR = dt.timedelta(hours=1)


def known_before(
    events: pa.Table, instant: dt.datetime, within: dt.timedelta | None = None
) -> pa.Table:
    """The `events` with known_at < `instant`, and not longer ago than `within`."""
    known = events["known_at"]
    seen = pc.less(known, pa.scalar(instant, known.type))
    if within is not None:
        first = pa.scalar(instant - within, known.type)
        seen = pc.and_(seen, pc.greater_equal(known, first))
    return events.filter(seen)


def lateness(more: Floats) -> float:
    """The mean of `more` (differences of flights just known), drawn towards zero."""
    return float(more.sum() / (len(more) + _PRIOR))


def weather(observed: pa.Table, evening: dt.datetime) -> dict[str, float]:
    """The weather over the three airports as known at `evening`, and how it has changed.

    Dew point in degrees Fahrenheit, pressure in millibars, wind in miles an hour as components
    from the east and the north, rain in inches of the last day. NaN where nothing was observed.
    """
    now = known_before(observed, evening, 3 * _HOUR)
    morning = known_before(observed, evening - 9 * _HOUR, 6 * _HOUR)
    yesterday = known_before(observed, evening - 18 * _HOUR, 6 * _HOUR)
    rain = floats(known_before(observed, evening, 24 * _HOUR)["precip"])
    east, north = _wind(now)
    return {
        "day_dewp": _mean(now, "dewp"),
        "day_dewp_change": _mean(now, "dewp") - _mean(yesterday, "dewp"),
        "day_pressure": _mean(now, "pressure"),
        "day_pressure_change": _mean(now, "pressure") - _mean(morning, "pressure"),
        "day_wind_east": east,
        "day_wind_north": north,
        "day_rain": float(np.nansum(rain)) if len(rain) else np.nan,
    }


def _wind(observed: pa.Table) -> tuple[float, float]:
    angle = np.deg2rad(floats(observed["wind_dir"]))
    speed = floats(observed["wind_speed"])
    return _nanmean(speed * np.sin(angle)), _nanmean(speed * np.cos(angle))


def _mean(observed: pa.Table, name: str) -> float:
    return _nanmean(floats(observed[name]))


def _nanmean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan
