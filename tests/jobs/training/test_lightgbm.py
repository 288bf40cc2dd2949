from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from jobs.training import lightgbm as ours
from jobs.training.fitting import Continued, Stopping
from registry.errors import BadData
from tests.jobs.training.conftest import a_fitting

SETTINGS = {
    "objective": "binary", "seed": 3, "num_threads": 2, "deterministic": True,
    "force_row_wise": True, "verbosity": -1,
}  # fmt: skip


def dataset(window, signature, **more):
    return lightgbm.Dataset(
        window.matrix(signature), window.labels, feature_name=list(signature.names),
        categorical_feature=[2], **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    "model",
    [
        {"num_iterations": 12, "num_leaves": 7},
        {"n_estimators": 5, "bin_construct_sample_cnt": 700, "max_bin": 31},
        {"num_iterations": 8, "bagging_fraction": 0.5, "bagging_freq": 1, "zero_as_missing": True},
        {"num_iterations": 3, "monotone_constraints": [1, 0, 0, 0]},
    ],
)
def test_the_file_is_that_of_the_library(window, signature, model):
    """Also where boundaries come from fewer rows than there are, and zeros are left out of them."""
    theirs = lightgbm.train(SETTINGS | model, dataset(window, signature))
    trained = ours.train(a_fitting(window, signature, model=model))
    assert trained.model == theirs.model_to_string().encode()


def test_weights_are_those_of_the_library(window, signature):
    weights = np.where(window.labels == 1, 3.0, 0.5)
    theirs = lightgbm.train(
        SETTINGS | {"num_iterations": 12, "num_leaves": 7},
        dataset(window, signature, weight=weights),
    )
    trained = ours.train(a_fitting(window, signature, weights=(0.5, 3.0)))
    assert trained.model == theirs.model_to_string().encode()


def test_early_stopping_is_that_of_the_library(window, signature):
    learnt, held = window.before_last(1)
    model = {"num_iterations": 300, "learning_rate": 0.3}
    rows = dataset(learnt, signature)
    theirs = lightgbm.train(
        SETTINGS | model, rows, valid_sets=[rows.create_valid(held.matrix(signature), held.labels)],
        callbacks=[lightgbm.early_stopping(5, verbose=False)],
    )  # fmt: skip
    trained = ours.train(a_fitting(learnt, signature, model=model, stopping=Stopping(held, 5)))
    assert trained.iterations is not None
    assert 0 < trained.iterations < 300
    assert trained.iterations == theirs.best_iteration
    assert trained.model == theirs.model_to_string().encode()


def test_a_warm_start_is_that_of_the_library(window, signature):
    learnt, later = window.before_last(1)
    parent = ours.train(a_fitting(learnt, signature)).model
    theirs = lightgbm.train(
        SETTINGS | {"num_iterations": 4, "num_leaves": 7}, dataset(later, signature, free_raw_data=False),
        init_model=lightgbm.Booster(model_str=parent.decode()),
    )  # fmt: skip
    more = {"continued": Continued(parent, 4), "model": {"num_iterations": 99, "num_leaves": 7}}
    trained = ours.train(a_fitting(later, signature, **more))
    assert trained.iterations == 16
    assert _trees(trained.model) == _trees(theirs.model_to_string().encode())
    begun = _trees(parent).split(b"\n\n")
    assert _trees(trained.model).split(b"\n\n")[: len(begun) - 1] == begun[:-1]


def test_warm_start_and_early_stopping_together(window, signature):
    learnt, held = window.before_last(1)
    parent = ours.train(a_fitting(learnt, signature)).model
    model = {"num_leaves": 31, "learning_rate": 0.5}
    more = {"continued": Continued(parent, 200), "stopping": Stopping(held, 3), "model": model}
    trained = ours.train(a_fitting(learnt, signature, **more))
    assert trained.iterations is not None
    assert 12 <= trained.iterations < 212
    assert trained.model.count(b"Tree=") == trained.iterations


def _trees(model: bytes) -> bytes:
    return model[model.index(b"Tree=0") : model.index(b"end of trees")]


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ({"num_leaves": 7, "max_leaves": 9}, "mean the same"),
        ({"num_leaves": "7 seed=9"}, "without spaces"),
        ({"num_leaves": None}, "was expected"),
        ({"early_stopping_rounds": 3}, "early_stopping_round cannot be"),
    ],
)
def test_hyperparameters_that_cannot_be(window, signature, model, why):
    with pytest.raises(BadData, match=why):
        ours.train(a_fitting(window, signature, model=model))


def test_a_metric_of_ones_own_beside_early_stopping(window, signature):
    learnt, held = window.before_last(1)
    more = {"model": {"metric": "auc"}, "stopping": Stopping(held, 3)}
    with pytest.raises(BadData, match="metric cannot be"):
        ours.train(a_fitting(learnt, signature, **more))
