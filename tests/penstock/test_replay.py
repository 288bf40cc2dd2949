"""`penstock replay`: a request log against the model that answered, and against others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import penstock
from registry import requestlog as names
from registry.models.signature import Input, Output, Signature
from serving.requestlog.files import LogFiles
from serving.requestlog.table import Shape
from tests.penstock.conftest import ENVIRONMENT, Imported
from tests.serving.requestlog.makers import VERSION, a_record

COUNT = 300


@pytest.fixture
def rows(imported: Imported) -> list[dict[str, Any]]:
    table = pq.read_table(imported.folder / "rows.parquet")
    found: list[dict[str, Any]] = table.drop_columns(["id"]).to_pylist()
    return found


Log = Callable[..., Path]


@pytest.fixture
def log(imported: Imported, rows: list[dict[str, Any]]) -> Log:
    """Write a log in which the first model answered `rows`, two to a request; returns its folder."""

    def write(*, model: str = "churn", omitted: tuple[str, ...] = (), shift: float = 0.0) -> Path:
        key = imported.first
        with penstock.load(
            key, store=str(imported.folder / "var/store"), environment=ENVIRONMENT
        ) as loaded:
            signature = loaded.signature
            (output,) = loaded.predict({n: [r[n] for r in rows] for n in rows[0]}).values()
        records = [
            a_record(
                signature, rows[i : i + 2], list(output[i : i + 2] + shift * (i == 0)),
                model=model, request=f"r-{i}", revision=1,
            )
            for i in range(0, COUNT, 2)
        ]  # fmt: skip
        records.append(a_record(signature, rows[:1], None, model=model, request="refused"))
        folder = imported.folder / "log"
        files = LogFiles(folder, 1 << 30)
        for part in (records[:70], records[70:]):
            files.write(model, VERSION, Shape(signature, omitted).table(part))
        return folder

    return write


def test_against_the_model_that_answered_nothing_differs(imported: Imported, log: Log) -> None:
    words = ("replay", log(), "--against", "churn@champion", "--json", "--tolerance", "0")
    told = imported.ok(*words).document
    assert (told["rows"], told["requests"], told["skipped"]) == (COUNT, COUNT // 2, 1)
    assert (told["files"], told["versions"], told["changed"]) == (2, [VERSION], 0)
    (output,) = told["outputs"]
    assert (output["max"], output["mean"], output["shift"]) == (0, 0, 0)
    assert told["worst"] == []


def test_against_another_model_the_difference_is_told(
    imported: Imported, log: Log, rows: list[dict[str, Any]]
) -> None:
    words = ("replay", log(), "--against", imported.second, "--worst", "3")
    told = imported.ok(*words, "--json").document
    store = str(imported.folder / "var/store")
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    first, second = (
        next(
            iter(penstock.load(key, store=store, environment=ENVIRONMENT).predict(columns).values())
        )
        for key in (imported.first, imported.second)
    )
    far = np.abs(second - first)
    (output,) = told["outputs"]
    assert output["max"] == far.max()
    assert output["mean"] == pytest.approx(far.mean(), rel=1e-12)
    assert output["shift"] == pytest.approx((second - first).mean(), rel=1e-9)
    assert output["quantiles"]["0.9"] == np.quantile(far, 0.9, method="higher")
    assert told["changed"] == np.mean(far > 0)
    assert [worst["difference"] for worst in told["worst"]] == sorted(far, reverse=True)[:3]
    for worst in told["worst"]:
        place = int(worst["request"].removeprefix("r-")) + worst["row"]
        assert (worst["logged"], worst["replayed"]) == (first[place], second[place])
    shown = imported.ok(*words).out
    assert "300 rows of 150 requests" in shown
    assert told["worst"][0]["request"] in shown


def test_a_tolerance_judges(imported: Imported, log: Log) -> None:
    words = ("replay", log(), "--against", imported.second)
    most = imported.ok(*words, "--json").document["outputs"][0]["max"]
    assert imported.call(*words, "--tolerance", "0").code == 77
    done = imported.call(*words, "--tolerance", repr(most / 2))
    assert done.code == 77
    assert "that is more than the 0.00% that may" in done.out
    assert imported.call(*words, "--tolerance", repr(most)).code == 0
    assert imported.call(*words, "--tolerance", "0", "--allow", "100%").code == 0


def test_one_row_that_differs_is_found(imported: Imported, log: Log) -> None:
    words = ("replay", log(shift=0.25), "--against", "churn", "--json", "--tolerance", "1e-9")
    done = imported.call(*words)
    assert done.code == 77
    assert done.document["changed"] == pytest.approx(2 / COUNT)
    assert {worst["request"] for worst in done.document["worst"]} == {"r-0"}
    assert imported.call(*words, "--allow", "1%").code == 0


def test_what_cannot_be_replayed_is_named(imported: Imported, log: Log, tmp_path: Path) -> None:
    against = ("--against", "churn@champion")
    nothing = imported.call("replay", "gone", *against)
    assert (nothing.code, "no such file" in nothing.err) == (66, True)
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), other)
    foreign = imported.call("replay", other, *against)
    assert (foreign.code, "no file of a request log" in foreign.err) == (65, True)
    kept_back = imported.call("replay", log(omitted=("origin",)), *against)
    assert kept_back.code == 65
    assert "does not hold origin" in kept_back.err
    assert "PENSTOCK_SERVING_REQUEST_LOG_OMIT" in kept_back.err
    assert imported.call("replay", "x", *against, "--allow", "2").code == 64
    assert imported.call("replay", "x", *against, "--tolerance", "-1").code == 64


FEWER = Signature((Input("hour"),), (Output("probability"),))
NUMBERS = Signature((Input("hour"), Input("temp"), Input("origin")), (Output("probability"),))
OTHER = Signature(
    (Input("hour"), Input("temp"), Input("origin", "category", ("JFK",))), (Output("delay"),)
)
ROW: dict[str, Any] = {"hour": 1.0, "temp": 1.0}


@pytest.mark.parametrize(
    ("signature", "row", "said"),
    [
        (FEWER, {"hour": 1.0}, "origin"),
        (NUMBERS, ROW | {"origin": 1.0}, "origin is double, not category"),
        (OTHER, ROW | {"origin": "JFK"}, "gave delay"),
    ],
)
def test_signatures_that_differ_are_told(
    imported: Imported, signature: Signature, row: dict[str, Any], said: str
) -> None:
    table = Shape(signature, []).table([a_record(signature, [row], [0.5], model="churn")])
    path = LogFiles(imported.folder / "log", 1 << 30).write("churn", VERSION, table)
    done = imported.call("replay", path, "--against", "churn@champion")
    assert done.code == 65, done.err
    assert said in done.err


def test_a_log_of_several_models(imported: Imported, log: Log) -> None:
    folder = log()
    shutil.copytree(folder / "churn", folder / "other")
    against = ("--against", "churn@champion")
    assert imported.ok("replay", folder, *against, "--json").document["rows"] == COUNT
    shutil.move(folder / "churn", folder / "third")
    done = imported.call("replay", folder, *against)
    assert (done.code, "other, third" in done.err) == (64, True)
    assert imported.ok("replay", folder / "other", *against, "--json").document["rows"] == COUNT
    assert names.log_files(folder / "other")
