"""The label: does the flight arrive fifteen minutes late, or more?

A cancelled or diverted flight counts as late: whoever asks wants to know whether to rely on the
flight, and it did not bring them there in time.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

LATE_MINUTES = 15


def label(tables: Mapping[str, pa.Table]) -> pa.Table:
    """Of one day's tables: id, label (true is late), and when that was known."""
    flights = tables["flights"]
    late = pc.greater_equal(flights["arr_delay"], LATE_MINUTES)
    never = pc.or_(flights["cancelled"], flights["diverted"])
    return pa.table(
        {
            "id": flights["id"],
            "label": pc.or_(never, pc.fill_null(late, False)),
            "known_at": flights["known_at"],
        }
    )


def base_rate_groups(features: pa.Table) -> pa.Array:
    """The group of each row for the base rate: carrier and scheduled local hour."""
    hour = pc.cast(pc.divide(features["minute_of_day"], 60), pa.string())
    groups = pc.binary_join_element_wise(features["carrier"], hour, " ")
    return groups.combine_chunks()


def slices(features: pa.Table) -> dict[str, pa.Array]:
    """The parts into which an evaluation is cut: by carrier, by origin, by three hours."""
    start = pc.multiply(pc.divide(features["minute_of_day"], 180), 3)
    clock = [pc.utf8_lpad(pc.cast(hour, pa.string()), 2, "0") for hour in (start, pc.add(start, 3))]
    return {
        "carrier": features["carrier"].combine_chunks(),
        "origin": features["origin"].combine_chunks(),
        "hours": pc.binary_join_element_wise(*clock, "–").combine_chunks(),
    }
