"""Evaluation in parts: slices, scored rows, the other horizon."""

from __future__ import annotations

import types

import numpy as np
import pyarrow as pa
import pytest

from jobs import evaluate, features, measures, predict, train
from jobs.slices import LEAST_ROWS, by_slice, slices_of
from jobs.tables import read_table
from registry.errors import BadData, UsageError
from registry.models.bundle import Bundle
from tests.jobs.conftest import parameters, training

LABELS = np.array([1.0, 0.0] * 40)
MODEL = np.array([0.8, 0.2] * 40)
BASE = np.full(80, 0.5)


def test_slices_measure_each_value_with_enough_rows():
    values = pa.array(["a"] * 50 + ["b"] * (30 - 1) + ["few"])
    rows = by_slice({"kind": values}, LABELS, MODEL, BASE).to_pylist()
    assert [(row["slice"], row["value"], row["rows"]) for row in rows] == [
        ("kind", "a", 50), ("kind", "b", 29),
    ]  # fmt: skip
    assert rows[0]["log_loss"] == pytest.approx(-np.log(0.8))
    assert rows[0]["gain"] == pytest.approx(np.log(0.8) - np.log(0.5))
    assert rows[0]["spread"] == pytest.approx(0, abs=1e-12)
    assert LEAST_ROWS <= 29


def test_a_use_case_without_slices_has_none():
    assert slices_of(types.ModuleType("label"), pa.table({})) == {}
    assert by_slice({}, LABELS, MODEL, BASE).num_rows == 0


def test_calibration_error_and_differences():
    assert measures.calibration_error(LABELS, BASE) == pytest.approx(0)
    assert measures.calibration_error(LABELS, np.full(80, 0.9)) == pytest.approx(0.4)
    gain = measures.difference(np.array([1.0, 2.0, 3.0]), np.zeros(3))
    assert (gain.mean, gain.sure) == (2.0, True)
    assert not measures.difference(np.array([1.0]), np.zeros(1)).sure


@pytest.fixture(scope="module")
def evening(ingested, tmp_path_factory):
    """Folders of features of the other horizon."""
    root = tmp_path_factory.mktemp("evening")
    folders = []
    for position in (2, 3, 4):
        folders.append(root / str(position))
        folders[-1].mkdir()
        date = parameters(horizon="dayahead") | {"date": f"2013-06-0{position + 2}"}
        features.run({"days": ingested[max(0, position - 2) : position + 1]}, date, folders[-1])
    return folders


def test_the_other_horizon_goes_the_same_way(evening, featured, tmp_path):
    model, evaluated, predicted = (tmp_path / name for name in ("model", "evaluated", "predicted"))
    for folder in (model, evaluated, predicted):
        folder.mkdir()
    train.run({"features": evening[:2]}, training() | {"horizon": "dayahead"}, model)
    view = Bundle.read(model).header.view
    assert view is not None
    assert view.name == "flights_dayahead"
    about = parameters(horizon="dayahead")
    inputs = {"model": model, "features": evening[2:], "window": evening[:2]}
    outcome = evaluate.run(inputs, about, evaluated)
    assert "flights-dayahead, 2013-06-06: lightgbm" in (evaluated / "report.html").read_text()
    scored = read_table(evaluated / "scored.parquet")
    assert scored.num_rows == outcome.rows
    loss = measures.log_loss(scored["label"].to_numpy(), scored["model"].to_numpy())
    assert outcome.metrics["log_loss"] == pytest.approx(loss)
    slices = read_table(evaluated / "slices.parquet").to_pylist()
    assert {row["slice"] for row in slices} == {"carrier", "origin", "hours"}
    predict.run({"model": model, "features": evening[2:]}, about, predicted)
    with pytest.raises(BadData, match="trained on flights_dayahead"):
        predict.run({"model": model, "features": featured[4:]}, parameters(), predicted)


def test_a_champion_is_shown_beside_its_rivals(featured, tmp_path):
    folders = {name: tmp_path / name for name in ("model", "rival", "champion", "other", "odd")}
    for folder in folders.values():
        folder.mkdir()
    train.run({"features": featured[:2]}, training(), folders["model"])
    inputs = {"model": folders["model"], "features": featured[4:], "window": featured[:4]}
    evaluate.run(inputs, parameters(), folders["rival"])
    beside = {**inputs, "rivals": [folders["rival"]]}
    evaluate.run(beside, parameters(rivals=["lightgbm"]), folders["champion"])
    page = (folders["champion"] / "report.html").read_text()
    assert "Champion and candidates" in page
    assert "+0.0000 ± 0.0000" in page
    assert "Champion and candidates" not in (folders["rival"] / "report.html").read_text()
    evaluate.run({**inputs, "features": featured[3:4]}, parameters(), folders["other"])
    odd = {**inputs, "rivals": [folders["other"]]}
    with pytest.raises(BadData, match="of other rows"):
        evaluate.run(odd, parameters(rivals=["lightgbm"]), folders["odd"])


def test_an_unknown_horizon(ingested, out):
    with pytest.raises(UsageError, match="known are: dayahead"):
        features.run({"days": ingested}, parameters(horizon="noon"), out)
