"""Features of a flight at the *day-ahead* horizon: what was known the evening before its day.

`as_of` is 20:00 in New York on the evening before. That is never before 00:00 UTC of the day, the
moment up to which labels count for a model of that day, so that a model evaluated on a day has
learnt nothing that its predictions could not have known.

Two kinds of features. What tells the flights of a day apart: how much later than others those of
the same carrier, airport, route or number were in four weeks (`excess`), less the mean of the day's
flights, so that the model cannot read the season from it. And what tells the day apart from others,
the same for all its flights (`evening`). The aircraft is left out: which one flies is settled on the
day itself, and changed because something went wrong.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from registry.features.view import AS_OF, Column, FeatureView
from usecases.flights.evening import known_before, lateness, weather
from usecases.flights.excess import (
    drawn,
    log_odds,
    minutes_more,
    more_than_hour,
    share_of_carrier,
    share_of_hour,
    with_hour,
)
from usecases.flights.facts import DAY, Columns, Floats, flights_of, floats, nullable
from usecases.flights.settings import SETTINGS

EVENING = dt.time(20, tzinfo=ZoneInfo("America/New_York"))

#: What flights are compared by, and as how many more flights of no difference a group counts.
_GROUPS: Mapping[str, tuple[list[str], float]] = {
    "carrier_more": (["carrier"], 50.0),
    "origin_more": (["origin"], 50.0),
    "dest_more": (["dest"], 50.0),
    "carrier_origin_more": (["carrier", "origin"], 50.0),
    "route_more": (["origin", "dest"], 30.0),
    "carrier_route_more": (["carrier", "origin", "dest"], 20.0),
    "origin_hour_more": (["origin", "hour"], 50.0),
}
_NUMBER, _NUMBER_PRIOR = ["carrier", "flight", "origin", "dest"], 8.0
_YESTERDAY_PRIOR = 20.0
_LAST = dt.timedelta(hours=3)

VIEW = FeatureView(
    name="flights_dayahead",
    version=SETTINGS.versions["features"],
    entity="id",
    columns=(
        Column("carrier", "category"),
        Column("origin", "category"),
        Column("minute_of_day", "int64"),
        Column("hour_log_odds"),
        Column("carrier_hour_log_odds"),
        *(Column(name) for name in _GROUPS),
        Column("flight_more"),
        Column("flight_minutes_more"),
        Column("carrier_day_more"),
        Column("origin_day_more"),
        Column("day_departures", "int64"),
        Column("day_late_before"),
        Column("day_dewp"),
        Column("day_dewp_change"),
        Column("day_pressure"),
        Column("day_pressure_change"),
        Column("day_wind_east"),
        Column("day_wind_north"),
        Column("day_rain"),
    ),
)


def evening_before(date: dt.date) -> dt.datetime:
    """When the flights of `date` are predicted, in UTC."""
    return dt.datetime.combine(date - dt.timedelta(days=1), EVENING).astimezone(dt.UTC)


def features(days: Sequence[Mapping[str, pa.Table]], date: dt.date) -> pa.Table:
    """Features of the flights of `date`, the last of `days`; earlier days are history.

    Raises:
        BadData: there are no days, or a table lacks columns.
    """
    _, history = flights_of(days, date)
    evening = evening_before(date)
    rows = with_hour(_as_of(days[-1]["flights"], evening))
    known = with_hour(known_before(history, evening))
    known = known.append_column("more", pa.array(more_than_hour(known)))
    observed = pa.concat_tables([day["weather"] for day in days])
    # The mean is that of the whole timetable: which rows are left out is not known beforehand.
    apart = _flights(rows, known) | _yesterday(rows, known, evening)
    numbers = {name: _less_mean(values) for name, values in apart.items()}
    for name, value in (_day(rows, known, evening) | weather(observed, evening)).items():
        numbers[name] = np.full(rows.num_rows, value)
    names = ("id", "as_of", "tailnum", "carrier", "origin", "minute_of_day")
    columns: Columns = {name: rows[name] for name in names}
    table = pa.table(columns | {name: nullable(values) for name, values in numbers.items()})
    return VIEW.conform(table.filter(pc.is_valid(table["tailnum"])))


def _less_mean(values: Floats) -> Floats:
    return np.asarray(values - values.mean() if len(values) else values, dtype=np.float64)


def _as_of(flights: pa.Table, evening: dt.datetime) -> pa.Table:
    as_of = pa.array([evening] * flights.num_rows, AS_OF)
    return flights.set_column(flights.schema.get_field_index("as_of"), "as_of", as_of)


def _flights(rows: pa.Table, known: pa.Table) -> dict[str, Floats]:
    """What tells the flights of a day apart, by all that is known."""
    more = floats(known["more"])
    beyond = floats(known["late"]) - share_of_carrier(known, known)
    return {
        "hour_log_odds": log_odds(share_of_hour(known, rows)),
        "carrier_hour_log_odds": log_odds(share_of_carrier(known, rows)),
        **{name: drawn(rows, known, more, by, prior) for name, (by, prior) in _GROUPS.items()},
        "flight_more": drawn(rows, known, beyond, _NUMBER, _NUMBER_PRIOR),
        "flight_minutes_more": drawn(rows, known, minutes_more(known), _NUMBER, _NUMBER_PRIOR),
    }


def _yesterday(rows: pa.Table, known: pa.Table, evening: dt.datetime) -> dict[str, Floats]:
    """How the last day went by carrier and by origin, less how it went for all."""
    last = known_before(known, evening, DAY)
    more = floats(last["more"])
    return {
        f"{name}_day_more": drawn(rows, last, more, [name], _YESTERDAY_PRIOR) - lateness(more)
        for name in ("carrier", "origin")
    }


def _day(rows: pa.Table, known: pa.Table, evening: dt.datetime) -> dict[str, float]:
    """How many flights the timetable has, and how the hours before the evening went."""
    last = known_before(known, evening, _LAST)
    return {"day_departures": rows.num_rows, "day_late_before": lateness(floats(last["more"]))}
