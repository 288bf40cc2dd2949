"""Features of the evening, beside a loop over all events that applies their definitions."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.usecases.flights.conftest import DAY
from usecases.flights import dayahead
from usecases.flights.evening import known_before
from usecases.flights.excess import drawn

EVENING = dt.datetime(2013, 2, 9, 1, tzinfo=dt.UTC)  # 20:00 in New York, the day before
HOUR = dt.timedelta(hours=1)
TIME = pa.timestamp("us", tz="UTC")


@pytest.fixture(scope="module")
def table(days):
    return dayahead.features(days, DAY)


def _seen(events, instant, hours=24 * 99):
    since = instant - hours * HOUR
    return [event for event in events if since <= event["known_at"] < instant]


def _late(event):
    return float(event["cancelled"] or event["diverted"] or event["arr_delay"] >= 15)


def _hour(event):
    return event["minute_of_day"] // 60


def _drawn(values, prior):
    return sum(values) / (len(values) + prior)


def _log_odds(share):
    share = min(max(share, 0.005), 0.995)
    return math.log(share / (1 - share))


def _minutes(event):
    return 60 if event["arr_delay"] is None else min(max(event["arr_delay"], -30), 120)


class Loop:
    """The flights known in the evening, and what the features say of them."""

    def __init__(self, history):
        self.known = _seen(history, EVENING)
        self.overall = np.mean([_late(event) for event in self.known])
        self.minutes = np.mean([_minutes(event) for event in self.known])

    def of_hour(self, hour):
        late = [_late(event) for event in self.known if _hour(event) == hour]
        return (sum(late) + 100 * self.overall) / (len(late) + 100)

    def of_carrier(self, carrier, hour):
        same = [e for e in self.known if e["carrier"] == carrier and _hour(e) == hour]
        return self.of_hour(hour) + _drawn([self.more(event) for event in same], 30)

    def more(self, event):
        return _late(event) - self.of_hour(_hour(event))

    def by(self, prior, hours=24 * 99, value=None, **keys):
        same = [
            event for event in _seen(self.known, EVENING, hours)
            if all(event[key] == wanted for key, wanted in keys.items())
        ]  # fmt: skip
        return _drawn([(value or self.more)(event) for event in same], prior)


def _of_flight(loop, flight):
    """What tells a flight apart from others, before the mean of its day is taken off."""
    hour = _hour(flight)
    carrier, origin = {"carrier": flight["carrier"]}, {"origin": flight["origin"]}
    route = {**origin, "dest": flight["dest"]}
    number = {**carrier, **route, "flight": flight["flight"]}

    def beyond(event):
        return _late(event) - loop.of_carrier(event["carrier"], _hour(event))

    at_hour = [
        loop.more(e) for e in loop.known if e["origin"] == flight["origin"] and _hour(e) == hour
    ]
    return {
        "hour_log_odds": _log_odds(loop.of_hour(hour)),
        "carrier_hour_log_odds": _log_odds(loop.of_carrier(flight["carrier"], hour)),
        "carrier_more": loop.by(50, **carrier),
        "origin_more": loop.by(50, **origin),
        "dest_more": loop.by(50, dest=flight["dest"]),
        "carrier_origin_more": loop.by(50, **carrier, **origin),
        "route_more": loop.by(30, **route),
        "carrier_route_more": loop.by(20, **carrier, **route),
        "origin_hour_more": _drawn(at_hour, 50),
        "flight_more": loop.by(8, value=beyond, **number),
        "flight_minutes_more": loop.by(8, value=lambda e: _minutes(e) - loop.minutes, **number),
        "carrier_day_more": loop.by(20, 24, **carrier) - loop.by(20, 24),
        "origin_day_more": loop.by(20, 24, **origin) - loop.by(20, 24),
    }


def test_features_of_flights_are_what_a_loop_gives(days, table):
    """Compared in pairs, for which the mean of the day does not matter."""
    history = pa.concat_tables([day["flights"] for day in days]).to_pylist()
    flights, loop = {event["id"]: event for event in history}, Loop(history)
    rows = table.take([0, 50, 200, 320]).to_pylist()
    want = [_of_flight(loop, flights[row["id"]]) for row in rows]
    assert {row["as_of"] for row in rows} == {EVENING}
    for row, wanted in zip(rows[1:], want[1:], strict=True):
        got = {name: row[name] - rows[0][name] for name in wanted}
        assert got == pytest.approx({name: wanted[name] - want[0][name] for name in wanted})


def test_features_of_flights_are_differences_from_the_mean_of_their_day(days):
    flights = days[-1]["flights"]
    tails = pa.array(["N1"] * flights.num_rows)
    whole = flights.set_column(flights.schema.get_field_index("tailnum"), "tailnum", tails)
    table = dayahead.features([*days[:-1], {**days[-1], "flights": whole}], DAY)
    assert table.num_rows == flights.num_rows
    for name in table.column_names:
        if name.endswith(("_more", "_log_odds")):
            assert np.mean(table[name].to_numpy()) == pytest.approx(0, abs=1e-12), name


def test_features_of_the_day_are_what_a_loop_gives(days, table):
    weather = pa.concat_tables([day["weather"] for day in days]).to_pylist()
    history = pa.concat_tables([day["flights"] for day in days]).to_pylist()

    def mean(name, ago=0, hours=3):
        seen = _seen(weather, EVENING - ago * HOUR, hours)
        return np.mean([event[name] for event in seen if event[name] is not None])

    wind = [
        event["wind_speed"] * np.exp(1j * np.deg2rad(event["wind_dir"]))
        for event in _seen(weather, EVENING, 3)
        if event["wind_dir"] is not None and event["wind_speed"] is not None
    ]
    want = {
        "day_departures": days[-1]["flights"].num_rows,
        "day_late_before": Loop(history).by(20, 3),
        "day_dewp": mean("dewp"),
        "day_dewp_change": mean("dewp") - mean("dewp", 18, 6),
        "day_pressure": mean("pressure"),
        "day_pressure_change": mean("pressure") - mean("pressure", 9, 6),
        "day_wind_east": np.mean(wind).imag,
        "day_wind_north": np.mean(wind).real,
        "day_rain": sum(event["precip"] for event in _seen(weather, EVENING, 24)),
    }
    for row in (table.slice(0, 1).to_pylist()[0], table.slice(300, 1).to_pylist()[0]):
        assert {name: row[name] for name in want} == pytest.approx(want)
    assert {name for name in table.column_names if name.startswith("day_")} == set(want)


MOMENTS = st.integers(-5, 5).map(lambda hours: EVENING + hours * HOUR)


@given(st.lists(MOMENTS, max_size=12), MOMENTS, st.none() | st.integers(0, 4))
def test_what_was_known_before(moments, instant, hours):
    events = pa.table({"known_at": pa.array(moments, TIME)})
    within = None if hours is None else hours * HOUR
    want = [
        moment for moment in moments
        if moment < instant and (within is None or moment >= instant - within)
    ]  # fmt: skip
    assert known_before(events, instant, within)["known_at"].to_pylist() == want


FLIGHTS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.floats(-1, 1)), max_size=12
)


@given(FLIGHTS, FLIGHTS, st.floats(0.5, 50))
def test_means_are_drawn_towards_zero(rows, known, prior):
    def tabled(flights):
        columns = list(zip(*flights, strict=True)) or [(), (), ()]
        kinds = (pa.string(), pa.int64(), pa.float64())
        arrays = [pa.array(values, kind) for values, kind in zip(columns, kinds, strict=True)]
        return pa.table(arrays, names=["carrier", "hour", "value"])

    events = tabled(known)
    values = np.array([value for *_, value in known])
    got = drawn(tabled(rows), events, values, ["carrier", "hour"], prior)
    want = [
        _drawn([value for c, h, value in known if (c, h) == (carrier, hour)], prior)
        for carrier, hour, _ in rows
    ]
    assert got.tolist() == pytest.approx(want)
