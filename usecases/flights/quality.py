"""What is expected of a day's flights, weather and planes, and of the features made from them.

The bounds leave room around what 2013 holds (every day of it meets them): they are to catch a feed
that was cut short, doubled, shifted by a column or sent in other units, not a bad day. The storm of
9 February, when more than half of the flights were cancelled, is a bad day.
"""

from __future__ import annotations

from registry.quality import Expectations, Rows, Values

_AIRPORTS = ("EWR", "JFK", "LGA")
_CARRIERS = (
    "9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV",
)  # fmt: skip
_ANY = 1.0  # a share of nulls that is never exceeded
_DAY = 24 * 60

_FLIGHTS = Rows(
    least=400,
    most=1_500,
    unique=("id",),
    columns={
        "as_of": Values(),
        "known_at": Values(),
        "carrier": Values(categories=_CARRIERS),
        "origin": Values(categories=_AIRPORTS),
        "dest": Values(),
        "distance": Values(low=10, high=6_000),
        "minute_of_day": Values(low=0, high=_DAY),
        "scheduled_minutes": Values(low=20, high=_DAY),
        # Cancelled flights have no delay, and some of them no tail number.
        "tailnum": Values(nulls=0.5),
        "dep_delay": Values(low=-120, high=2_880, nulls=0.9),
        "arr_delay": Values(low=-240, high=2_880, nulls=0.9),
    },
)

_WEATHER = Rows(
    # The source has no weather of 31 December at all; three airports have 72 hours otherwise.
    least=0,
    most=75,
    columns={
        "origin": Values(categories=_AIRPORTS),
        "hour": Values(),
        "temp": Values(low=-40, high=130, nulls=0.2),  # Fahrenheit
        "humid": Values(low=0, high=101, nulls=0.2),
        "wind_dir": Values(low=0, high=360, nulls=0.5),
        "wind_speed": Values(low=0, high=150, nulls=0.2),
        "precip": Values(low=0, high=10, nulls=0.2),
        "pressure": Values(low=900, high=1_100, nulls=0.9),
        "visib": Values(low=0, high=10, nulls=0.2),
    },
)

_PLANES = Rows(
    least=200,
    unique=("tailnum",),
    columns={
        "year": Values(low=1940, high=2013, nulls=0.2),
        "seats": Values(low=1, high=900),
        "engines": Values(low=1, high=4),
    },
)

_FEATURES = Rows(
    least=300,
    most=1_500,
    unique=("id",),
    columns={
        "carrier": Values(categories=_CARRIERS),
        "origin": Values(categories=_AIRPORTS),
        "weekday": Values(low=0, high=6),
        "minute_of_day": Values(low=0, high=_DAY),
        "distance": Values(low=10, high=6_000),
        "plane_age": Values(low=0, high=80, nulls=0.5),
        "plane_seats": Values(low=1, high=900, nulls=0.5),
        # Unknown on the first day, which has no history, and where weather is missing.
        "temp": Values(low=-40, high=130, nulls=_ANY),
        "wind_speed": Values(low=0, high=150, nulls=_ANY),
        "origin_dep_delay": Values(low=-120, high=2_880, nulls=0.8),
        "origin_cancelled": Values(low=0, high=1, nulls=0.8),
        "dest_arr_delay": Values(low=-240, high=2_880, nulls=0.95),
        "aircraft_arr_delay": Values(low=-240, high=2_880, nulls=0.95),
    },
)

_EVENING = Rows(
    least=300,
    most=1_500,
    unique=("id",),
    columns={
        "carrier": Values(categories=_CARRIERS),
        "origin": Values(categories=_AIRPORTS),
        "minute_of_day": Values(low=0, high=_DAY),
        # Unknown on the first day, which has no history.
        "carrier_hour_log_odds": Values(low=-6, high=6, nulls=_ANY),
        "carrier_more": Values(low=-1, high=1),
        "flight_more": Values(low=-1, high=1),
        "day_departures": Values(low=400, high=1_500),
        "day_late_before": Values(low=-1, high=1),
        "day_pressure": Values(low=900, high=1_100, nulls=_ANY),
        "day_rain": Values(low=0, high=100, nulls=_ANY),
    },
)

EXPECTATIONS = Expectations(
    sources={"flights": _FLIGHTS, "weather": _WEATHER, "planes": _PLANES},
    features=_FEATURES,
    horizons={"dayahead": _EVENING},
    label_rate=(0.01, 0.95),
)
