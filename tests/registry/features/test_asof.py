from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import BadData
from registry.features.asof import visible

TIME = pa.timestamp("us", tz="UTC")
START = dt.datetime(2013, 1, 1, tzinfo=dt.UTC)
# Few instants and few keys, so that ties, duplicates and empty sides are common.
INSTANTS = st.integers(0, 6).map(lambda step: START + dt.timedelta(minutes=10 * step))
KEYS = st.none() | st.sampled_from("ab")
ROWS = st.lists(st.tuples(KEYS, KEYS, INSTANTS), max_size=6)
EVENTS = st.lists(
    st.tuples(KEYS, KEYS, st.none() | INSTANTS, st.none() | st.integers(-5, 5)), max_size=12
)
WITHIN = st.none() | st.integers(0, 40).map(lambda minutes: dt.timedelta(minutes=minutes))


def _rows(rows):
    one, two, as_of = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table({"k": pa.array(one, pa.string()), "l": pa.array(two, pa.string()),
                     "as_of": pa.array(as_of, TIME)})  # fmt: skip


def _events(events):
    one, two, known, values = zip(*events, strict=True) if events else ((), (), (), ())
    return pa.table({"k": pa.array(one, pa.string()), "l": pa.array(two, pa.string()),
                     "known_at": pa.array(known, TIME), "v": pa.array(values, pa.float64())})  # fmt: skip


def _oracle(row, events, by, within):
    """Indices of what `row` may see, oldest first: every event looked at, one by one."""
    seen = []
    for index, event in enumerate(events):
        keys = [(row[position], event[position]) for position in by]
        if any(mine is None or mine != its for mine, its in keys) or event[2] is None:
            continue
        if event[2] < row[2] and (within is None or event[2] >= row[2] - within):
            seen.append(index)
    return sorted(seen, key=lambda index: events[index][2])


@given(ROWS, EVENTS, WITHIN, st.sampled_from([(0,), (1,), (0, 1)]))
def test_every_row_sees_what_the_oracle_says(rows, events, within, by):
    names = [("k", "l")[position] for position in by]
    found = visible(_rows(rows), _events(events), by=names, within=within)
    values = np.array([math.nan if e[3] is None else e[3] for e in events], dtype=np.float64)
    means = found.mean(values)
    for row, asked in enumerate(rows):
        want = _oracle(asked, events, by, within)
        assert found.order[found.start[row] : found.stop[row]].tolist() == want
        assert found.latest[row] == (want[-1] if want else -1)
        assert found.count[row] == len(want)
        known = [v for v in values[want] if not math.isnan(v)]
        assert means[row] == pytest.approx(np.mean(known) if known else math.nan, nan_ok=True)


@given(ROWS, EVENTS, st.randoms())
def test_chunks_change_nothing(rows, events, random):
    table = _events(events)
    cut = random.randint(0, len(events))
    chunked = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
    one, two = (visible(_rows(rows), t, by=["k"]) for t in (table, chunked))
    assert one.latest.tolist() == two.latest.tolist()


def test_what_is_known_at_the_very_instant_is_not_seen():
    rows, events = _rows([("a", "a", START)]), _events([("a", "a", START, 1)])
    assert visible(rows, events, by=["k"]).latest.tolist() == [-1]


def test_units_of_time_may_differ():
    rows = _rows([("a", "a", START + dt.timedelta(seconds=1))])
    events = _events([("a", "a", START, 1)])
    seconds = events.set_column(2, "known_at", events["known_at"].cast(pa.timestamp("s", "UTC")))
    assert visible(rows, seconds, by=["k"]).latest.tolist() == [0]


def test_many_key_columns_do_not_overflow():
    names = [f"k{index}" for index in range(30)]
    keys = {name: pa.array([str(i) for i in range(100)]) for name in names}
    rows = pa.table({**keys, "as_of": pa.array([START] * 100, TIME)})
    events = pa.table({**keys, "known_at": pa.array([START - dt.timedelta(1)] * 100, TIME)})
    assert visible(rows, events, by=names).latest.tolist() == list(range(100))


def test_faults_are_named():
    rows, events = _rows([("a", "a", START)]), _events([])
    with pytest.raises(BadData, match="events lack columns: colour"):
        visible(rows.append_column("colour", [["x"]]), events, by=["colour"])
    with pytest.raises(BadData, match="expected a timestamp"):
        visible(rows, events.set_column(2, "known_at", [[]]), by=["k"])
    with pytest.raises(BadData, match="no as_of"):
        visible(rows.set_column(2, "as_of", pa.array([None], TIME)), events, by=["k"])
