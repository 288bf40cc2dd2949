from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import BadData
from registry.usecase import load_features, load_usecase
from tests.usecases.flights.conftest import DAY
from usecases.flights import dayahead
from usecases.flights import features as departure
from usecases.flights.label import base_rate_groups, label, slices

TIME = pa.timestamp("us", tz="UTC")
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure",
           "visib"]  # fmt: skip
HORIZONS = pytest.mark.parametrize("horizon", [departure, dayahead], ids=["departure", "dayahead"])
EVENING = dt.datetime(2013, 2, 9, 1, tzinfo=dt.UTC)  # 20:00 in New York, the day before


@pytest.fixture(scope="module")
def tables(days):
    return {horizon: horizon.features(days, DAY) for horizon in (departure, dayahead)}


@pytest.fixture(scope="module")
def table(tables):
    return tables[departure]


def _scramble(table, known_at, instant, columns, rng):
    """Replace `columns` wherever `known_at` is not before `instant`; new times are not either."""
    known = table[known_at].cast(pa.int64()).to_pylist()
    cut = int(instant.timestamp() * 1_000_000)
    late = np.array([value is None or value >= cut for value in known])
    for name in (known_at, *columns):
        field = table.schema.field(name)
        new = _random(field.type, table.num_rows, cut, rng)
        column = pc.if_else(pa.array(late), new, table[name].combine_chunks())
        table = table.set_column(table.schema.get_field_index(name), field, column)
    return table


def _random(kind, rows, cut, rng):
    if pa.types.is_timestamp(kind):
        # Some at the very instant, which is not before it.
        return pa.array(cut + rng.integers(0, 3, rows) * 3_600_000_000, pa.int64()).cast(TIME)
    if pa.types.is_boolean(kind):
        return pa.array(rng.random(rows) < 0.5)
    values = rng.integers(-60, 600, rows)
    return pa.array(values, mask=rng.random(rows) < 0.2).cast(kind)


def _changed_after(days, instant, seed):
    """The days with everything that was not known before `instant` replaced by chance."""
    rng = np.random.default_rng(seed)
    changed = []
    for day in days:
        flights = _scramble(day["flights"], "departed_at", instant, ["dep_delay"], rng)
        outcome = ["arr_delay", "cancelled", "diverted"]
        flights = _scramble(flights, "known_at", instant, outcome, rng)
        weather = _scramble(day["weather"], "known_at", instant, WEATHER, rng)
        changed.append({**day, "flights": flights, "weather": weather})
    return changed


@given(st.integers(0, 683), st.integers(0, 2**32 - 1))
def test_no_feature_sees_what_was_not_known_before(days, table, row, seed):
    """Whatever happens at or after an instant, features as of then and earlier stay as they are."""
    instant = days[-1]["flights"]["as_of"][row].as_py()
    earlier = pc.less_equal(table["as_of"], pa.scalar(instant, TIME))
    got = departure.features(_changed_after(days, instant, seed), DAY).filter(earlier)
    assert got.equals(table.filter(earlier))


@given(st.integers(0, 2**32 - 1))
def test_no_feature_of_the_evening_sees_the_day(days, tables, seed):
    changed = _changed_after(days, EVENING, seed)
    aircraft = {day["planes"].num_rows for day in changed}
    changed[-1]["planes"] = changed[-1]["planes"].slice(0, 0)
    assert aircraft != {0}
    assert dayahead.features(changed, DAY).equals(tables[dayahead])


def _seen(history, as_of, hours=None, column="known_at", **keys):
    """The events of these keys that were known before `as_of`, not longer ago than `hours`."""
    since = as_of - dt.timedelta(hours=24 * 99 if hours is None else hours)
    return [
        event for event in history
        if all(event[key] == value for key, value in keys.items())
        and event[column] is not None and since <= event[column] < as_of
    ]  # fmt: skip


def _mean(values):
    values = [value for value in values if value is not None]
    return float(np.mean(values)) if values else None


def _late(events):
    return _mean([
        event["cancelled"] or event["diverted"] or event["arr_delay"] >= 15 for event in events
    ])  # fmt: skip


def _arrival(events):
    return _mean([event["arr_delay"] for event in events])


def _newest(events):
    return max(events, key=lambda event: event["known_at"]) if events else None


def _rows(days, table, index):
    history = pa.concat_tables([day["flights"] for day in days]).to_pylist()
    weather = pa.concat_tables([day["weather"] for day in days]).to_pylist()
    row = table.slice(index, 1).to_pylist()[0]
    return history, weather, row, next(event for event in history if event["id"] == row["id"])


def _around(history, flight):
    near = dt.timedelta(minutes=30)
    return sum(
        event["origin"] == flight["origin"] and abs(event["as_of"] - flight["as_of"]) <= near
        for event in history
    )


@pytest.mark.parametrize("index", [0, 50, 120, 200, 260, 320])
def test_features_are_what_a_loop_over_all_events_gives(days, table, index):
    history, weather, row, flight = _rows(days, table, index)
    as_of, origin, carrier = row["as_of"], row["origin"], row["carrier"]
    airline = {"origin": origin, "carrier": carrier}
    route = {"origin": origin, "dest": row["dest"]}
    number = {"carrier": carrier, "flight": flight["flight"]}
    own = [
        e for e in _seen(history, as_of, tailnum=flight["tailnum"]) if e["arr_delay"] is not None
    ]
    waiting = [
        (min(e["departed_at"] or as_of, as_of) - e["as_of"]) / dt.timedelta(minutes=1)
        for e in _seen(history, as_of, 3, "as_of", origin=origin)
    ]
    left = _seen(history, as_of, 3, "departed_at", origin=origin)
    sky = _newest(_seen(weather, as_of, 6, origin=origin))
    want = {
        "origin_dep_delay": _mean([e["dep_delay"] for e in left]),
        "origin_waiting": _mean(waiting),
        "origin_cancelled": _mean(
            [e["cancelled"] for e in _seen(history, as_of, 6, origin=origin)]
        ),
        "carrier_origin_arr_delay": _arrival(_seen(history, as_of, 6, **airline)),
        "carrier_arr_delay_day": _arrival(_seen(history, as_of, 24, carrier=carrier)),
        "dest_arr_delay": _arrival(_seen(history, as_of, 6, dest=row["dest"])),
        "route_late_day": _late(_seen(history, as_of, 24, **route)),
        "flight_late_days": _late(_seen(history, as_of, **number)),
        "flight_arr_delay_days": _arrival(_seen(history, as_of, **number)),
        "carrier_route_late_days": _late(_seen(history, as_of, carrier=carrier, **route)),
        "aircraft_arr_delay": _newest(own)["arr_delay"] if own else None,
        "temp": sky["temp"] if sky else None,
        "departures_around": _around(history, flight),
    }
    assert {name: row[name] for name in want} == pytest.approx(want)


@HORIZONS
def test_the_table_is_the_view(tables, days, horizon):
    assert tables[horizon].schema == horizon.VIEW.schema
    assert tables[horizon].num_rows == pc.count(days[-1]["flights"]["tailnum"]).as_py()


@HORIZONS
def test_history_alone_is_enough_for_the_first_day(days, horizon):
    assert horizon.features(days[-1:], DAY).num_rows == horizon.features(days, DAY).num_rows


@HORIZONS
def test_no_days(horizon):
    with pytest.raises(BadData, match="no days"):
        horizon.features([], DAY)


@pytest.mark.parametrize("date", [dt.date(2013, 1, 5), dt.date(2013, 7, 5), dt.date(2013, 3, 10)])
def test_the_evening_comes_after_the_labels_a_model_of_the_day_may_learn(date):
    midnight = dt.datetime.combine(date, dt.time(), dt.UTC)
    assert dt.timedelta() <= dayahead.evening_before(date) - midnight <= dt.timedelta(hours=1)


def test_each_horizon_is_a_module():
    assert load_features("flights") is departure
    for name in load_usecase("flights").horizon_names[1:]:
        assert load_features("flights", name) is dayahead


def test_the_label_counts_cancelled_and_diverted_flights_as_late(days):
    labels = label(days[-1]).to_pylist()
    for row, flight in zip(labels, days[-1]["flights"].to_pylist(), strict=True):
        never = flight["cancelled"] or flight["diverted"]
        assert row["label"] == (never or flight["arr_delay"] >= 15)
        assert row["known_at"] == flight["known_at"]


@HORIZONS
def test_groups_and_slices_of_an_evaluation(tables, horizon):
    first = tables[horizon].slice(0, 1).to_pylist()[0]
    hour = first["minute_of_day"] // 60
    assert base_rate_groups(tables[horizon])[0].as_py() == f"{first['carrier']} {hour}"
    parts = {name: values[0].as_py() for name, values in slices(tables[horizon]).items()}
    start = hour // 3 * 3
    assert parts == {
        "carrier": first["carrier"],
        "origin": first["origin"],
        "hours": f"{start:02}–{start + 3:02}",
    }
