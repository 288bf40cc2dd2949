"""Early stopping, class weights and a warm start, on real flights."""

from __future__ import annotations

import json

import pytest

from jobs import train
from registry.errors import BadData
from registry.models.bundle import Bundle
from registry.models.predictor import open_checked
from tests.jobs.conftest import training

BOTH = pytest.mark.parametrize("algorithm", ["lightgbm", "catboost"])
MORE = {"warm_start": {"iterations": 5}}


def made(folder, inputs, parameters):
    folder.mkdir()
    outcome = train.run(inputs, parameters, folder)
    return outcome, {path.name: path.read_bytes() for path in folder.iterdir()}


@BOTH
def test_it_goes_on_from_its_parent(featured, tmp_path, algorithm):
    made(tmp_path / "parent", {"features": featured[:2]}, training(algorithm))
    inputs = {"features": featured[:4], "parent": tmp_path / "parent"}
    asked = training(algorithm) | {"training": MORE}
    outcome, files = made(tmp_path / "child", inputs, asked)
    assert outcome.metrics["iterations"] == 25
    assert made(tmp_path / "again", inputs, asked) == (outcome, files)
    old, new = (Bundle.read(tmp_path / name) for name in ("parent", "child"))
    assert old.model_bytes() != new.model_bytes()
    for before, after in zip(old.signature.inputs, new.signature.inputs, strict=True):
        known = before.categories or ()
        assert (after.categories or ())[: len(known)] == known
    grown = [len(b.signature.inputs[1].categories or ()) for b in (old, new)]
    assert grown[0] <= grown[1]
    open_checked(new).close()


def test_a_parent_of_other_inputs_or_algorithm(featured, tmp_path):
    made(tmp_path / "parent", {"features": featured[:2]}, training())
    inputs = {"features": featured[:2], "parent": tmp_path / "parent"}
    with pytest.raises(BadData, match=r"catboost cannot go on.*it is of lightgbm"):
        made(tmp_path / "a", inputs, training("catboost") | {"training": MORE})
    header = json.loads((tmp_path / "parent" / "bundle.json").read_text())
    header["view"]["version"] = 99
    (tmp_path / "parent" / "bundle.json").write_text(json.dumps(header))
    with pytest.raises(BadData, match="version 99"):
        made(tmp_path / "b", inputs, training() | {"training": MORE})


@BOTH
def test_it_stops_early(featured, tmp_path, algorithm):
    many = training(algorithm, learning_rate=0.5, **{"lightgbm": {"num_iterations": 400}}.get(
        algorithm, {"iterations": 400}))  # fmt: skip
    asked = many | {"training": {"early_stopping": {"rounds": 4, "days": 1}}}
    outcome, files = made(tmp_path / "one", {"features": featured[:4]}, asked)
    assert 0 < outcome.metrics["iterations"] < 396
    assert made(tmp_path / "two", {"features": featured[:4]}, asked) == (outcome, files)
    with pytest.raises(BadData, match="cannot be held out of a window of 1"):
        made(tmp_path / "three", {"features": featured[:1]}, asked)


@BOTH
@pytest.mark.parametrize("weights", ["balanced", [1.0, 4.0]])
def test_class_weights_lift_the_rarer_class(featured, tmp_path, algorithm, weights):
    inputs = {"features": featured[:4]}
    plain, _ = made(tmp_path / "plain", inputs, training(algorithm))
    asked = training(algorithm) | {"training": {"class_weights": weights}}
    weighted, _ = made(tmp_path / "weighted", inputs, asked)
    lift = weighted.metrics["train_mean_prediction"] - plain.metrics["train_mean_prediction"]
    assert lift > 0.05


def test_a_predictor_of_ones_own_has_no_options(featured, tmp_path):
    asked = training("logistic") | {"training": {"class_weights": "balanced"}}
    with pytest.raises(BadData, match="logistic takes no class weights"):
        made(tmp_path / "a", {"features": featured[:2]}, asked)
