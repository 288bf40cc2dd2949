"""Features of a flight at the *day-ahead* horizon: what was known the evening before its day.

`as_of` is 20:00 in New York on the evening before. That is never before 00:00 UTC of the day, the
moment up to which labels count for a model of that day, so that a model evaluated on a day has
learnt nothing that its predictions could not have known.

What it may know and leaves out: the aircraft, since which one flies is settled on the day itself,
and changed because something went wrong; the weekday, the evening's weather and how the last day
went as a whole, since a window of weeks holds few of each, and a model that sees them learns its
days by heart and does worse than a table of averages. So delays of the last days are told as
differences from those of all flights, and the model is additive (docs/benchmarks.md has the numbers).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from registry.features.view import AS_OF, Column, FeatureView
from usecases.flights.facts import (
    Columns,
    Delays,
    departures_around,
    flights_of,
    nullable,
    schedule,
)
from usecases.flights.settings import SETTINGS

EVENING = dt.time(20, tzinfo=ZoneInfo("America/New_York"))

VIEW = FeatureView(
    name="flights_dayahead",
    version=SETTINGS.versions["features"],
    entity="id",
    columns=(
        Column("carrier", "category"),
        Column("origin", "category"),
        Column("dest", "category"),
        Column("hour", "category"),
        Column("minute_of_day", "int64"),
        Column("distance", "int64"),
        Column("scheduled_minutes", "int64"),
        Column("departures_around", "int64"),
        Column("carrier_late_more"),
        Column("carrier_origin_late_more"),
        Column("route_late_more"),
        Column("flight_late_more"),
        Column("flight_arr_delay_more"),
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
    scheduled, history = flights_of(days, date)
    evening = pa.array([evening_before(date)] * scheduled.num_rows, AS_OF)
    rows = scheduled.set_column(scheduled.schema.get_field_index("as_of"), "as_of", evening)
    columns: Columns = {name: rows[name] for name in ("id", "as_of")}
    columns |= schedule(rows, date)
    columns |= {"departures_around": pa.array(departures_around(scheduled, history))}
    columns |= {"hour": pc.cast(pc.divide(rows["minute_of_day"], 60), pa.string())}
    columns |= _delays(rows, history)
    return VIEW.conform(pa.table(columns))


def _delays(rows: pa.Table, history: pa.Table) -> Columns:
    delays = Delays(rows, history)
    flight = ["carrier", "flight"]
    columns = {
        "carrier_late_more": delays.late_more(["carrier"]),
        "carrier_origin_late_more": delays.late_more(["carrier", "origin"]),
        "route_late_more": delays.late_more(["origin", "dest"]),
        "flight_late_more": delays.late_more(flight),
        "flight_arr_delay_more": delays.arrival(flight) - delays.arrival([]),
    }
    return {name: nullable(values) for name, values in columns.items()}
