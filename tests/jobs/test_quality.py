from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from jobs import features, ingest, quality
from jobs.quality import check_features, check_sources
from jobs.tables import read_table
from registry.errors import BadData
from registry.quality import Expectations, Rows, Values, expectations_of
from tests.jobs.conftest import parameters

DAY = dt.date(2020, 1, 1)
TABLE = pa.table(
    {
        "id": ["a", "b", "c", "d"],
        "size": pa.array([1.0, 2.0, float("nan"), None]),
        "kind": ["x", "y", None, "x"],
    }
)
LABELS = pa.table({"label": [True, False, False, False]})


@pytest.fixture
def declare(monkeypatch):
    """Makes the expectations of every use case those that are given."""

    def declared(rows: Rows | None = None, **more):
        expectations = Expectations(sources={"t": rows} if rows else {}, **more)
        for module in (quality, ingest):
            monkeypatch.setattr(module, "expectations_of", lambda _: expectations)

    return declared


def test_what_holds_is_measured(declare):
    declare(
        Rows(least=4, most=4, unique=["id"], columns={
            "size": Values(low=1, high=2, nulls=0.5),
            "kind": Values(categories=["x", "y"], nulls=0.25),
        })
    )  # fmt: skip
    assert check_sources("u", DAY, {"t": TABLE}) == {
        "quality t rows": 4.0,
        "quality t.id repeated": 0.0,
        "quality t.size nulls": 0.5,
        "quality t.size outside": 0.0,
        "quality t.kind nulls": 0.25,
        "quality t.kind outside": 0.0,
    }


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (Rows(least=5), "t rows: 4 rows, expected at least 5"),
        (Rows(most=3), "at least 1 and at most 3"),
        (Rows(columns={"size": Values(nulls=0.4)}), r"t\.size nulls: 2 of 4 values, at most 40"),
        (Rows(columns={"id": Values(), "kind": Values()}), r"t\.kind nulls: 1 of 4 .*\(c None\)"),
        (
            Rows(columns={"size": Values(low=1.5, nulls=1)}),
            r"outside: 1 of 2 values, expected 1\.5 or more \(a 1\.0\)",
        ),
        (
            Rows(columns={"size": Values(high=1.5, nulls=1)}),
            r"outside: 1 of 2 values, expected 1\.5 or less \(b 2\.0\)",
        ),
        (
            Rows(columns={"kind": Values(categories=["x"], nulls=1)}),
            r"t\.kind outside: 1 of 3 values, expected one of x \(b y\)",
        ),
        (Rows(columns={"gone": Values()}), r"t\.gone nulls: there is no such column"),
    ],
)
def test_a_breach_names_the_expectation_the_counts_and_the_rows(declare, rows, told):
    declare(rows)
    with pytest.raises(BadData, match=told) as caught:
        check_sources("u", DAY, {"t": TABLE})
    assert caught.value.exit_code == 65


def test_a_share_of_the_values_may_be_outside(declare):
    declare(Rows(columns={"size": Values(high=1.5, nulls=1, outside=0.5)}))
    assert check_sources("u", DAY, {"t": TABLE})["quality t.size outside"] == 0.5


def test_repeated_values_are_shown_five_at_most(declare, capsys):
    declare(Rows(unique=["id"]))
    table = pa.table({"id": ["a", "b", "c", "d"] * 2 + ["e"]})
    with pytest.raises(BadData, match=r"8 of 9 rows share a value \(a, b, c, d, a\)"):
        check_sources("u", DAY, {"t": table})
    assert capsys.readouterr().out.count('{"id"') == 5


def test_several_breaches_are_counted_and_all_logged(declare, capsys):
    columns = {"kind": Values(), "size": Values(low=9), "id": Values(categories=["z"])}
    declare(Rows(least=9, columns=columns))
    with pytest.raises(BadData, match=r"break 5 of 6 expectations: .*; and 2 more"):
        check_sources("u", DAY, {"t": TABLE})
    assert capsys.readouterr().out.count("expectation t") == 5


def test_a_table_that_is_not_there(declare):
    declare(Rows())
    with pytest.raises(BadData, match="there is no table t"):
        check_sources("u", DAY, {})


def test_the_rate_of_labels(declare):
    declare(features=Rows(), label_rate=(0.2, 0.3))
    assert check_features("u", DAY, TABLE, LABELS)["quality label rate"] == 0.25
    declare(features=Rows(), label_rate=(0.3, 0.4))
    with pytest.raises(BadData, match=r"25\.00% of the labels are true, expected 30"):
        check_features("u", DAY, TABLE, LABELS)


def test_an_empty_table_breaks_nothing_but_its_volume(declare):
    declare(Rows(least=0, unique=["id"], columns={"size": Values(low=9), "kind": Values()}))
    assert set(check_sources("u", DAY, {"t": TABLE.slice(0, 0)}).values()) == {0.0}


def test_an_empty_day_is_refused_unless_declared(declare, monkeypatch, out):
    class Sources:
        @staticmethod
        def ingest(_):
            return {"t": TABLE.slice(0, 0)}

    monkeypatch.setattr(ingest, "load_step", lambda *_: Sources)
    declare()
    with pytest.raises(BadData, match="are empty"):
        ingest.run({}, parameters(DAY), out)
    declare(Rows(least=0))
    assert ingest.run({}, parameters(DAY), out).rows == 0


def test_a_breach_leaves_no_artifact(declare, ingested, out):
    declare(features=Rows(columns={"distance": Values(high=500)}))
    with pytest.raises(BadData, match=r"features\.distance outside: .*2013-06-06:"):
        features.run({"days": ingested[2:]}, parameters(), out)
    assert not list(out.iterdir())


def test_flights_declares_and_its_days_hold(ingested, featured):
    declared = expectations_of("flights")
    assert set(declared.sources) == {"flights", "weather", "planes"}
    for day in featured:
        table, labels = (read_table(day / f"{name}.parquet") for name in ("features", "labels"))
        assert len(check_features("flights", DAY, table, labels)) > 15


@pytest.mark.parametrize("damage", ["doubled", "shifted", "metric", "short"])
def test_a_feed_of_flights_that_went_wrong_is_stopped(ingested, damage):
    tables = {path.stem: read_table(path) for path in ingested[-1].iterdir()}
    flights, weather = tables["flights"], tables["weather"]
    if damage == "doubled":
        tables["flights"] = pa.concat_tables([flights, flights])
    elif damage == "shifted":
        place = flights.schema.get_field_index("carrier")
        tables["flights"] = flights.set_column(place, "carrier", flights["dest"])
    elif damage == "metric":
        place = weather.schema.get_field_index("pressure")
        tables["weather"] = weather.set_column(
            place, "pressure", pc.multiply(weather["pressure"], 0.029)
        )
    else:
        tables["flights"] = flights.slice(0, 100)
    with pytest.raises(BadData, match="the sources of flights on 2013-06-06 break"):
        check_sources("flights", dt.date(2013, 6, 6), tables)


def test_a_module_that_declares_nothing_is_named(monkeypatch):
    import usecases.flights.quality

    monkeypatch.delattr(usecases.flights.quality, "EXPECTATIONS")
    with pytest.raises(BadData, match=r"usecases/flights/quality\.py is incomplete"):
        expectations_of("flights")
