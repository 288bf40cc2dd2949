from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import BadData
from tests.usecases.flights.conftest import DAY
from usecases.flights.features import VIEW, features
from usecases.flights.label import base_rate_groups, label

TIME = pa.timestamp("us", tz="UTC")
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure",
           "visib"]  # fmt: skip


@pytest.fixture(scope="module")
def table(days):
    return features(days, DAY)


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


@given(st.integers(0, 683), st.integers(0, 2**32 - 1))
def test_no_feature_sees_what_was_not_known_before(days, table, row, seed):
    """Whatever happens at or after an instant, features as of then and earlier stay as they are."""
    instant = days[-1]["flights"]["as_of"][row].as_py()
    rng = np.random.default_rng(seed)
    changed = []
    for day in days:
        flights = _scramble(day["flights"], "departed_at", instant, ["dep_delay"], rng)
        outcome = ["arr_delay", "cancelled", "diverted"]
        flights = _scramble(flights, "known_at", instant, outcome, rng)
        weather = _scramble(day["weather"], "known_at", instant, WEATHER, rng)
        changed.append({**day, "flights": flights, "weather": weather})
    earlier = pc.less_equal(table["as_of"], pa.scalar(instant, TIME))
    got = features(changed, DAY).filter(earlier)
    assert got.equals(table.filter(earlier))


def _seen(history, row, as_of, hours, column="known_at", **keys):
    since = as_of - dt.timedelta(hours=hours)
    return [
        event for event in history
        if all(event[key] == value for key, value in keys.items())
        and event[column] is not None and since <= event[column] < as_of
    ]  # fmt: skip


def _mean(values):
    values = [value for value in values if value is not None]
    return float(np.mean(values)) if values else None


@pytest.mark.parametrize("index", [0, 50, 120, 200, 260, 320])
def test_features_are_what_a_loop_over_all_events_gives(days, table, index):
    history = pa.concat_tables([day["flights"] for day in days]).to_pylist()
    weather = pa.concat_tables([day["weather"] for day in days]).to_pylist()
    row = table.slice(index, 1).to_pylist()[0]
    flight = next(event for event in history if event["id"] == row["id"])
    as_of, origin, carrier = row["as_of"], row["origin"], row["carrier"]
    left = _seen(history, row, as_of, 3, "departed_at", origin=origin)
    own = [
        e
        for e in _seen(history, row, as_of, 99, tailnum=flight["tailnum"])
        if e["arr_delay"] is not None
    ]
    waiting = [
        (min(e["departed_at"] or as_of, as_of) - e["as_of"]) / dt.timedelta(minutes=1)
        for e in _seen(history, row, as_of, 3, "as_of", origin=origin)
    ]
    sky = _seen(weather, row, as_of, 6, origin=origin)
    around = dt.timedelta(minutes=30)
    want = {
        "origin_dep_delay": _mean([e["dep_delay"] for e in left]),
        "origin_waiting": _mean(waiting),
        "origin_cancelled": _mean(
            [e["cancelled"] for e in _seen(history, row, as_of, 6, origin=origin)]
        ),
        "carrier_origin_arr_delay": _mean(
            [e["arr_delay"] for e in _seen(history, row, as_of, 6, origin=origin, carrier=carrier)]
        ),
        "aircraft_arr_delay": max(own, key=lambda e: e["known_at"])["arr_delay"] if own else None,
        "temp": max(sky, key=lambda e: e["known_at"])["temp"] if sky else None,
        "departures_around": sum(
            e["origin"] == origin and abs(e["as_of"] - as_of) <= around for e in history
        ),
    }
    assert {name: row[name] for name in want} == pytest.approx(want)


def test_the_table_is_the_view(table, days):
    assert table.schema == VIEW.schema
    assert table.num_rows == pc.count(days[-1]["flights"]["tailnum"]).as_py()


def test_history_alone_is_enough_for_the_first_day(days):
    assert features(days[-1:], DAY).num_rows == features(days, DAY).num_rows


def test_no_days():
    with pytest.raises(BadData, match="no days"):
        features([], DAY)


def test_the_label_counts_cancelled_and_diverted_flights_as_late(days):
    labels = label(days[-1]).to_pylist()
    for row, flight in zip(labels, days[-1]["flights"].to_pylist(), strict=True):
        never = flight["cancelled"] or flight["diverted"]
        assert row["label"] == (never or flight["arr_delay"] >= 15)
        assert row["known_at"] == flight["known_at"]


def test_groups_of_the_base_rate(table):
    first = table.slice(0, 1).to_pylist()[0]
    assert (
        base_rate_groups(table)[0].as_py() == f"{first['carrier']} {first['minute_of_day'] // 60}"
    )
