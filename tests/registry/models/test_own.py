from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import usecases.flights.predictor
from jobs.measures import auc
from registry.errors import BadData, Corrupt
from registry.models import own
from registry.models.building import build_bundle
from registry.models.bundle import Bundle
from registry.models.logistic import Logistic
from registry.models.own import Own, OwnPredictor, newest, open_own
from registry.models.predictor import open_checked, open_predictor
from registry.models.signature import Input, Output, Signature

SIGNATURE = Signature(
    inputs=(
        Input("x"), Input("n", "int64"), Input("kind", "category", ("a", "b", "c")), Input("same"),
    ),
    outputs=(Output("probability"),),
)  # fmt: skip
OWN = Own("flights", "logistic", 1, "json")
ROWS: list[dict[str, Any]] = [
    {"x": 0.5, "n": 3, "kind": "a", "same": 1.0},
    {"x": -2.0, "n": None, "kind": "c", "same": 1.0},
]


def data(seed: int = 0, rows: int = 600):
    random = np.random.default_rng(seed)
    matrix = np.column_stack([
        random.normal(size=rows), random.integers(0, 9, rows), random.integers(0, 3, rows),
        np.ones(rows),
    ]).astype(np.float64)  # fmt: skip
    odds = (
        1.5 * matrix[:, 0]
        - 0.3 * matrix[:, 1]
        + np.array([1.0, 0.0, -1.0])[matrix[:, 2].astype(int)]
    )
    labels = (random.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.float64)
    matrix[random.random(rows) < 0.1, 1] = np.nan
    return matrix, labels


def train(**parameters) -> bytes:
    matrix, labels = data()
    complete = {**Logistic.parameters, **parameters}
    return Logistic.train(SIGNATURE, matrix, labels, parameters=complete, seed=0, threads=1)


@pytest.fixture(scope="module")
def model() -> bytes:
    return train()


@pytest.fixture
def bundle(model, tmp_path) -> Bundle:
    return build_bundle(
        tmp_path, flavor="python", model=model, link=None, own=OWN, signature=SIGNATURE, rows=ROWS
    )


def test_it_learns_what_there_is_to_learn(model):
    matrix, labels = data(seed=1)
    predictor = Logistic(model)
    assert auc(labels, predictor.predict(matrix)[:, 0]) > 0.78
    weight = predictor._model.terms[0].weights[0] / predictor._model.terms[0].scale
    assert weight == pytest.approx(1.5, abs=0.3)


def test_it_is_at_the_optimum(model):
    """The slope of the penalised likelihood in the numbers' weights, from the definition."""
    matrix, labels = data()
    predictor = Logistic(model)
    rest = labels - predictor.predict(matrix)[:, 0]
    assert rest.sum() == pytest.approx(0, abs=1e-4)
    for position in (0, 1):
        term = predictor._model.terms[position]
        number = np.nan_to_num((matrix[:, position] - term.mean) / term.scale)
        slope = number @ rest - 0.001 * len(labels) * term.weights[0]
        assert slope == pytest.approx(0, abs=1e-4)


def test_the_same_rows_give_the_same_bytes(model):
    assert train() == model
    assert train(l2=0.1) != model


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_row_does_not_depend_on_those_beside_it(model, rows, seed):
    matrix, _ = data(seed, rows)
    predictor = Logistic(model)
    together = predictor.predict(matrix)
    alone = np.concatenate([predictor.predict(row[np.newaxis]) for row in matrix])
    np.testing.assert_array_equal(together, alone)


def test_an_input_may_have_a_penalty_of_its_own(model):
    """As the definition has it, by the slope at the optimum; the last pattern that fits counts."""
    names = SIGNATURE.names
    matrix, labels = data()
    predictor = Logistic(train(l2_of={"*": 0.1, names[0][:1] + "*": 0.2, names[1]: 0.3}))
    rest = labels - predictor.predict(matrix)[:, 0]
    for position, penalty in enumerate((0.2, 0.3)):
        term = predictor._model.terms[position]
        number = np.nan_to_num((matrix[:, position] - term.mean) / term.scale)
        slope = number @ rest - penalty * len(labels) * term.weights[0]
        assert slope == pytest.approx(0, abs=1e-4)
    assert train(l2_of={"*": 0.001}) == model


@pytest.mark.parametrize(
    ("l2_of", "told"), [({"day_*": 0.1}, "l2_of names day_"), ({"*": 0}, "above 0")]
)
def test_a_penalty_of_no_input(l2_of, told):
    with pytest.raises(BadData, match=told):
        train(l2_of=l2_of)


@pytest.mark.parametrize("l2", [0, -1, "much", True, float("nan")])
def test_a_penalty_that_cannot_be(l2):
    with pytest.raises(BadData, match="l2"):
        train(l2=l2)


def test_a_bundle_names_the_class_and_its_file(bundle):
    read = Bundle.read(bundle.folder)
    assert read.header.own == OWN
    assert read.model_path.name == "model.json"
    open_checked(read, threads=2).close()
    assert not list(bundle.folder.glob("*.pkl"))


def test_a_damaged_file_is_found_before_the_class_sees_it(bundle):
    bundle.model_path.write_bytes(b"{}")
    with pytest.raises(Corrupt):
        open_predictor(Bundle.read(bundle.folder))


def _edit(bundle, **changes):
    path = bundle.folder / "bundle.json"
    header = json.loads(path.read_text())
    header["own"] |= changes
    path.write_text(json.dumps(header))
    return Bundle.read(bundle.folder)


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({"version": 2}, "flights/logistic version 2"),
        ({"name": "other"}, "flights/other version 1"),
        ({"format": "npz"}, r"version 1 \(npz\)"),
    ],
)
def test_a_class_that_this_code_lacks_is_named_with_what_it_has(bundle, changes, needed):
    if "format" in changes:
        (bundle.folder / "model.npz").write_bytes(bundle.model_path.read_bytes())
    with pytest.raises(BadData, match=needed) as caught:
        open_predictor(_edit(bundle, **changes))
    assert "this code has logistic version 1 (json)" in str(caught.value)


@pytest.mark.parametrize("usecase", ["gone", "../registry", "os", "flights.settings"])
def test_only_predictors_of_use_cases_are_looked_at(bundle, usecase):
    with pytest.raises(BadData, match="this code has none"):
        open_predictor(_edit(bundle, usecase=usecase))


def test_a_format_that_could_run_is_none(bundle):
    with pytest.raises(BadData, match=r"bundle\.json"):
        _edit(bundle, format="pkl")


def test_own_belongs_to_its_flavor_only(bundle):
    path = bundle.folder / "bundle.json"
    path.write_text(path.read_text().replace('"python"', '"lightgbm"'))
    with pytest.raises(BadData, match="flavor python"):
        Bundle.read(bundle.folder)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_pickle_is_never_opened(protocol):
    with pytest.raises(BadData, match="pickle"):
        open_own(b"\x80" + bytes([protocol]) + b".", OWN)


def test_what_a_class_raises_becomes_bad_data():
    with pytest.raises(BadData, match=r"logistic version 1 refuses the model: .*Error"):
        open_own(b'{"format": "hostile"}', OWN)


class Second(Logistic):
    version = 2


def test_the_newest_trains_and_the_older_one_still_reads(monkeypatch, model):
    monkeypatch.setattr(usecases.flights.predictor, "PREDICTORS", (Second, Logistic))
    assert newest("flights", "logistic") is Second
    assert type(open_own(model, OWN)) is Logistic


@pytest.mark.parametrize("listed", [None, [Logistic], (object,), (OwnPredictor,), ("logistic",)])
def test_a_list_of_something_else_is_named(monkeypatch, listed):
    monkeypatch.setattr(usecases.flights.predictor, "PREDICTORS", listed)
    with pytest.raises(BadData, match=r"usecases/flights/predictor\.py is incomplete"):
        own.own_predictors("flights")
