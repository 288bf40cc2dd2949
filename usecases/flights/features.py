"""Features of a flight at the *departure* horizon: what was known at its scheduled departure.

The aircraft is known by then, and its register before any flight of it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from registry.features.view import Column, FeatureView
from usecases.flights.facts import (
    DAY,
    RECENT,
    WEATHER,
    Columns,
    Delays,
    departures_around,
    flights_of,
    latest_weather,
    nullable,
    schedule,
)
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
        *(Column(name) for name in WEATHER),
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
        Column("route_late_day"),
        Column("flight_arr_delay_days"),
        Column("flight_late_days"),
        Column("carrier_route_late_days"),
    ),
)


def features(days: Sequence[Mapping[str, pa.Table]], date: dt.date) -> pa.Table:
    """Features of the flights of `date`, the last of `days`; earlier days are history.

    Raises:
        BadData: there are no days, or a table lacks columns.
    """
    rows, history = flights_of(days, date)
    weather = pa.concat_tables([day["weather"] for day in days])
    columns: Columns = {name: rows[name] for name in ("id", "as_of")}
    columns |= schedule(rows, date)
    columns |= {"departures_around": pa.array(departures_around(rows, history))}
    columns |= _planes(rows, days[-1]["planes"], date)
    columns |= latest_weather(rows, weather)
    columns |= _delays(rows, history)
    return VIEW.conform(pa.table(columns))


def _planes(rows: pa.Table, planes: pa.Table, date: dt.date) -> Columns:
    index = pc.index_in(rows["tailnum"], value_set=planes["tailnum"])
    found = planes.take(index)
    return {
        "plane_age": pc.subtract(date.year, found["year"]),
        "plane_seats": found["seats"],
        "plane_engines": found["engines"],
    }


def _delays(rows: pa.Table, history: pa.Table) -> Columns:
    delays = Delays(rows, history)
    airline, flight, route = ["carrier", "origin"], ["carrier", "flight"], ["origin", "dest"]
    own, since = delays.aircraft()
    columns = {
        "aircraft_arr_delay": own,
        "aircraft_hours_since": since,
        "origin_dep_delay": delays.departure(["origin"], RECENT),
        "origin_cancelled": delays.cancelled(["origin"], 2 * RECENT),
        "origin_waiting": delays.waiting(["origin"]),
        "carrier_origin_waiting": delays.waiting(airline),
        "carrier_origin_dep_delay": delays.departure(airline, RECENT),
        "carrier_origin_arr_delay": delays.arrival(airline, 2 * RECENT),
        "carrier_origin_last_dep_delay": delays.last_departure(airline, DAY),
        "dest_arr_delay": delays.arrival(["dest"], 2 * RECENT),
        "carrier_arr_delay_day": delays.arrival(["carrier"], DAY),
        "route_late_day": delays.late(route, DAY),
        "flight_arr_delay_days": delays.arrival(flight),
        "flight_late_days": delays.late(flight),
        "carrier_route_late_days": delays.late(["carrier", *route]),
    }
    return {name: nullable(values) for name, values in columns.items()}
