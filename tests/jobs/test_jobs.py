from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import evaluate, features, ingest, predict, train
from jobs.tables import read_table, write_table
from jobs.window import read_window
from registry.errors import BadData, NotFound
from registry.models.bundle import Bundle
from registry.models.predictor import open_checked
from registry.models.tables import encode_table
from registry.usecase import Quarantine, load_usecase
from tests.jobs.conftest import parameters, training
from usecases.flights.features import VIEW


@pytest.fixture(scope="session", params=["lightgbm", "catboost", "logistic"])
def model(request, featured, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    outcome = train.run({"features": featured[:4]}, training(request.param), folder)
    return folder, outcome


def test_ingest_writes_the_tables_of_the_day(ingested):
    assert {path.name for path in ingested[-1].iterdir()} == {
        "flights.parquet", "planes.parquet", "weather.parquet",
    }  # fmt: skip


def test_ingest_of_a_day_that_is_not_there(out):
    with pytest.raises(NotFound):
        ingest.run({}, parameters() | {"date": "2020-01-01"}, out)


def test_features_and_labels_stand_side_by_side(featured):
    table = read_table(featured[-1] / "features.parquet")
    labels = read_table(featured[-1] / "labels.parquet")
    assert table["id"].equals(labels["id"])
    order = list(zip(table["as_of"].to_pylist(), table["id"].to_pylist(), strict=True))
    assert order == sorted(order)


def test_a_model_is_a_bundle_that_checks_itself(model):
    folder, outcome = model
    bundle = Bundle.read(folder)
    assert bundle.header.view is not None
    assert bundle.header.view.name == "flights_departure"
    assert len(bundle.golden.rows) == 5
    assert outcome.metrics["train_auc"] > 0.7
    assert outcome.signature["inputs"][0]["name"] == "carrier"
    open_checked(bundle).close()


def test_labels_that_were_not_known_before_the_day_are_left_out(model, featured):
    _, outcome = model
    everything = sum(read_table(day / "labels.parquet").num_rows for day in featured[:4])
    assert 0.8 * everything < outcome.rows < everything


def test_evaluation(model, featured, out):
    folder, _ = model
    inputs = {"model": folder, "features": [featured[4]], "window": featured[:4]}
    outcome = evaluate.run(inputs, parameters(), out)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics == outcome.metrics
    assert metrics["auc_gain"] == pytest.approx(metrics["auc"] - metrics["base_auc"])
    report = (out / "report.html").read_text()
    assert report.count("<svg") == 3 + len({"carrier", "origin", "hours"})
    assert f"{metrics['auc']:.4f}" in report
    outside = [f"{scheme}://" for scheme in ("http", "https")]
    allowed = report.replace("http://www.w3.org/", "")
    assert not any(link in allowed for link in outside)


def test_predictions_name_their_model(model, featured, out):
    folder, _ = model
    inputs = {"model": folder, "features": [featured[4]]}
    outcome = predict.run(inputs, parameters(model_key="k" * 64), out)
    table = read_table(out / "predictions.parquet")
    assert table.column_names == ["id", "as_of", "probability", "model"]
    assert set(table["model"].to_pylist()) == {"k" * 64}
    rows = read_table(featured[4] / "features.parquet")
    assert table.num_rows == outcome.rows == rows.num_rows
    bundle = Bundle.read(folder)
    want = open_checked(bundle).predict(encode_table(bundle.signature, rows))
    np.testing.assert_array_equal(table["probability"].to_numpy(), want[:, 0])


def test_predicting_with_a_model_of_another_view(model, featured, out, tmp_path):
    folder, _ = model
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    header = json.loads((copy / "bundle.json").read_text())
    header["view"]["version"] = 99
    (copy / "bundle.json").write_text(json.dumps(header))
    with pytest.raises(BadData, match="version 99"):
        predict.run({"model": copy, "features": [featured[4]]}, parameters(), out)


def test_the_same_inputs_give_the_same_bytes_in_another_process(
    ingested, featured, model, tmp_path
):
    """Every job, in a process of its own with another hash seed, against what was made here."""
    folder, _ = model
    header = Bundle.read(folder).header
    algorithm = header.own.name if header.own else header.flavor
    job = {
        "ingest": ({}, parameters()),
        "features": ({"days": [str(day) for day in ingested[2:]]}, parameters()),
        "train": ({"features": [str(day) for day in featured[:4]]}, training(algorithm)),
        "evaluate": (
            {"model": str(folder), "features": [str(featured[4])],
             "window": [str(day) for day in featured[:4]]},
            parameters(),
        ),
        "predict": ({"model": str(folder), "features": [str(featured[4])]}, parameters()),
    }  # fmt: skip
    digests = [_digests(job, tmp_path / name) for name in ("one", "two")]
    assert digests[0] == digests[1]
    assert len(digests[0]) == 3 + 2 + 4 + 4 + 1
    assert all(digests[0][f"train/{path.name}"] == _sha256(path) for path in folder.iterdir())


_RUN = """
import importlib, json, pathlib, sys
for kind, (inputs, parameters) in json.load(sys.stdin).items():
    paths = {r: [pathlib.Path(p) for p in v] if isinstance(v, list) else pathlib.Path(v)
             for r, v in inputs.items()}
    out = pathlib.Path(sys.argv[1]) / kind
    out.mkdir(parents=True)
    importlib.import_module(f"jobs.{kind}").run(paths, parameters, out)
"""


def _digests(job, folder):
    command = [sys.executable, "-c", _RUN, str(folder)]
    subprocess.run(command, input=json.dumps(job), text=True, check=True)
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: _sha256(path) for name, path in sorted(found.items())}


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("role", ["features", "window", "model"])
def test_missing_inputs_are_named(model, featured, out, role):
    inputs = {"model": model[0], "features": [featured[4]], "window": featured[:4]}
    inputs[role] = []
    with pytest.raises(BadData, match=role):
        evaluate.run(inputs, parameters(), out)


def test_an_empty_window(featured, out):
    early = training() | {"date": "2013-01-01"}
    with pytest.raises(BadData, match="no row whose label is known"):
        train.run({"features": featured[:1]}, early, out)


def _with_labels(day, tmp_path, change):
    copy = tmp_path / "day"
    copy.mkdir()
    for path in day.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    change(copy)
    return copy


def test_one_class_only(featured, out, tmp_path):
    def change(folder):
        labels = read_table(folder / "labels.parquet")
        never = pa.array([False] * labels.num_rows)
        write_table(folder / "labels.parquet", labels.set_column(1, "label", never))

    day = _with_labels(featured[0], tmp_path, change)
    with pytest.raises(BadData, match="both classes"):
        train.run({"features": [day]}, training(), out)


@pytest.mark.parametrize("name", ["features.parquet", "labels.parquet"])
@pytest.mark.parametrize("damage", ["truncated", "gone", "column", "rows"])
def test_broken_inputs(featured, out, tmp_path, name, damage):
    def change(folder):
        path = folder / name
        table = pq.read_table(path)
        if damage == "truncated":
            path.write_bytes(path.read_bytes()[:-100])
        elif damage == "gone":
            path.unlink()
        elif damage == "column":
            write_table(path, table.drop_columns([table.column_names[-1]]))
        else:
            write_table(path, table.slice(1))

    day = _with_labels(featured[0], tmp_path, change)
    with pytest.raises(BadData):
        train.run({"features": [day]}, training(), out)
    assert not list(out.iterdir())


def test_a_source_table_without_a_column(ingested, out, tmp_path):
    def change(folder):
        table = pq.read_table(folder / "flights.parquet")
        write_table(folder / "flights.parquet", table.drop_columns(["arr_delay"]))

    day = _with_labels(ingested[-1], tmp_path, change)
    with pytest.raises(BadData, match="arr_delay"):
        features.run({"days": [day]}, parameters(), out)


@pytest.mark.parametrize(
    ("algorithm", "model", "why"),
    [
        ("lightgbm", {"nun_leaves": 3}, "no parameter nun_leaves"),
        ("lightgbm", {"seed": 3}, "seed cannot be"),
        ("lightgbm", {"nthread": 3}, "num_threads cannot be"),
        ("lightgbm", {"num_leaves": "many"}, "refuses to train"),
        ("lightgbm", {"num_leaves": -3}, "refuses to train"),
        ("catboost", {"deepness": 3}, "refuses to train"),
        ("catboost", {"random_seed": 3}, "random_seed cannot be"),
        ("catboost", {"depth": 99}, "refuses to train"),
        ("logistic", {"l3": 1}, "logistic has no parameter l3.*it takes l2"),
        ("logistic", {"l2": -1}, "must be a number above 0"),
    ],
)
def test_hyperparameters_that_cannot_be(featured, out, algorithm, model, why):
    with pytest.raises(BadData, match=why):
        train.run({"features": featured[:2]}, training(algorithm, **model), out)


def test_an_unknown_algorithm(featured, out):
    with pytest.raises(BadData, match="known are lightgbm and catboost"):
        train.run({"features": featured[:2]}, training() | {"algorithm": "oracle"}, out)


def test_a_label_that_is_not_known_yet_is_not_learnt_from(featured, tmp_path, out):
    def change(folder):
        labels = read_table(folder / "labels.parquet")
        known = pa.array([None] * 100, labels["known_at"].type)
        known = pa.concat_arrays([known, *labels["known_at"].slice(100).chunks])
        write_table(folder / "labels.parquet", labels.set_column(2, "known_at", known))

    day = _with_labels(featured[4], tmp_path, change)
    table, labels = read_window(VIEW, [day])
    rows = read_table(featured[4] / "labels.parquet").num_rows
    assert table.num_rows == len(labels) == rows - 100


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (None, "the day of flights_departure has no row whose label is known.*earlier day"),
        (
            dt.date(2013, 1, 1),
            "the window of flights_departure before 2013-01-01 has no row.*later day",
        ),
    ],
)
def test_no_label_is_known(featured, tmp_path, before, told):
    def change(folder):
        labels = read_table(folder / "labels.parquet")
        unknown = pa.nulls(labels.num_rows, labels["known_at"].type)
        write_table(folder / "labels.parquet", labels.set_column(2, "known_at", unknown))

    day = featured[4] if before else _with_labels(featured[4], tmp_path, change)
    with pytest.raises(BadData, match=told):
        read_window(VIEW, [day], before)


def test_shards_put_together_are_what_was_scored_at_once(model, featured, tmp_path):
    folder, _ = model
    inputs = {"model": folder, "features": [featured[3], featured[4]]}
    made = {}
    each = {"once": {}, "0": {"shard": 0, "shards": 2}, "1": {"shard": 1, "shards": 2}}
    for name, more in each.items():
        (tmp_path / name).mkdir()
        made[name] = predict.run(inputs, parameters(model_key="k" * 64, **more), tmp_path / name)
    (tmp_path / "whole").mkdir()
    shards = {"model": folder, "shards": [tmp_path / "0", tmp_path / "1"]}
    whole = predict.run(shards, parameters(), tmp_path / "whole")
    assert made["0"].rows
    assert made["1"].rows
    assert made["once"].rows == whole.rows == made["0"].rows + made["1"].rows
    assert whole.metrics == pytest.approx(made["once"].metrics)
    assert _sha256(tmp_path / "whole" / "predictions.parquet") == _sha256(
        tmp_path / "once" / "predictions.parquet"
    )


def _with_infinities(day, tmp_path, rows):
    def change(folder):
        table = read_table(folder / "features.parquet")
        name = next(c.name for c in VIEW.columns if c.type == "float64")
        values = table[name].to_numpy(zero_copy_only=False).copy()
        values[:rows] = np.inf
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
        write_table(folder / "features.parquet", table)

    return _with_labels(day, tmp_path, change)


def test_rows_that_cannot_be_scored_are_left_out_within_the_limit(
    model, featured, out, tmp_path, monkeypatch
):
    folder, _ = model
    day = _with_infinities(featured[4], tmp_path, 3)
    with pytest.raises(BadData, match="infinity is not declared"):
        predict.run({"model": folder, "features": [day]}, parameters(), out)
    allowing = dataclasses.replace(load_usecase("flights"), quarantine=Quarantine(rows=3))
    monkeypatch.setattr(predict, "load_usecase", lambda name: allowing)
    outcome = predict.run({"model": folder, "features": [day]}, parameters(), out)
    assert outcome.metrics["quarantined"] == 3
    told = read_table(out / "quarantine.parquet").to_pylist()
    ids = read_table(day / "features.parquet")["id"].to_pylist()
    assert [(line["row"], line["id"]) for line in told] == list(enumerate(ids[:3]))
    (tmp_path / "whole").mkdir()
    joined = {"model": folder, "shards": [out, out]}
    with pytest.raises(BadData, match="6 rows are bad"):
        predict.run(joined, parameters(), tmp_path / "whole")
