"""How much more often flights are late than the hour of the day explains.

Flights run late towards the evening, so that the share of late flights of an airport says as much
about its timetable as about the airport. Here each flight counts as late (1) or not (0), less the
share of late flights of its scheduled hour, and such differences are averaged by what flights have
in common. Averages of few flights are drawn towards zero: a group counts as if it had `prior` more
flights of no difference.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from usecases.flights.facts import Floats, floats

_HOURS = 24
_HOUR_PRIOR, _CARRIER_PRIOR = 100.0, 30.0
#: Minutes of delay that count at most, early and late, and those of a flight that never arrived.
_EARLIEST, _LATEST, _NEVER = -30.0, 120.0, 60.0
_SMALLEST = 0.005  # a share that log odds are taken of


def share_of_hour(known: pa.Table, rows: pa.Table) -> Floats:
    """Share of late flights among `known` at each row's hour, drawn towards that of all hours.

    NaN where nothing is known.
    """
    late, hours = floats(known["late"]), _hour(known)
    overall = late.mean() if len(late) else np.nan
    true = np.bincount(hours, late, _HOURS) + _HOUR_PRIOR * overall
    shares = true / (np.bincount(hours, minlength=_HOURS) + _HOUR_PRIOR)
    return np.asarray(shares[_hour(rows)], dtype=np.float64)


def share_of_carrier(known: pa.Table, rows: pa.Table) -> Floats:
    """Share of late flights of each row's carrier at its hour, drawn towards that of the hour."""
    by, more = ["carrier", "hour"], more_than_hour(known)
    return share_of_hour(known, rows) + drawn(rows, known, more, by, _CARRIER_PRIOR)


def more_than_hour(known: pa.Table) -> Floats:
    """For each known flight: late (1 or 0), less the share of its hour."""
    return floats(known["late"]) - share_of_hour(known, known)


def minutes_more(known: pa.Table) -> Floats:
    """For each known flight: minutes of arrival delay, within bounds, less the mean of all."""
    delay = np.clip(floats(known["arr_delay"]), _EARLIEST, _LATEST)
    delay = np.where(np.isnan(delay), _NEVER, delay)
    return np.asarray(delay - delay.mean() if len(delay) else delay, dtype=np.float64)


def drawn(rows: pa.Table, known: pa.Table, values: Floats, by: list[str], prior: float) -> Floats:
    """For each of `rows`, the mean of `values` over the `known` flights equal in `by`.

    Drawn towards zero: the sum is divided by the number of flights plus `prior`.
    """
    asked, found = _key(rows, by), _key(known, by)
    groups = pc.unique(found)
    index = pc.index_in(found, value_set=groups).to_numpy(zero_copy_only=False)
    flights = np.bincount(index, minlength=len(groups))
    means = np.bincount(index, values, len(groups)) / (flights + prior)
    position = pc.fill_null(pc.index_in(asked, value_set=groups), len(groups))
    result: Floats = np.append(means, 0.0)[position.to_numpy(zero_copy_only=False)]
    return result


def log_odds(shares: Floats) -> Floats:
    """The logarithm of the odds of `shares`, which are kept off 0 and 1."""
    kept = np.clip(shares, _SMALLEST, 1 - _SMALLEST)
    return np.asarray(np.log(kept / (1 - kept)), dtype=np.float64)


def with_hour(flights: pa.Table) -> pa.Table:
    """`flights` with the scheduled local `hour`."""
    minutes = np.asarray(flights["minute_of_day"].to_numpy(), dtype=np.int64)
    return flights.append_column("hour", pa.array(minutes // 60 % _HOURS))


def _hour(flights: pa.Table) -> NDArray[np.int64]:
    return np.asarray(flights["hour"].to_numpy(), dtype=np.int64)


def _key(flights: pa.Table, by: list[str]) -> pa.Array:
    parts = [pc.cast(flights[name], pa.string()) for name in by]
    joined = pc.binary_join_element_wise(*parts, " ")
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined
