"""Small models of both flavors, on five numbers and a category of 40 codes."""

from __future__ import annotations

from dataclasses import dataclass

import catboost
import lightgbm
import numpy as np
import pytest

from registry.models.building import build_bundle
from registry.models.catboost import to_bytes
from registry.models.signature import Input, Matrix, Output, Signature

FEATURES = 6
CATEGORIES = tuple(f"c{code:02d}" for code in range(40))


@dataclass(frozen=True)
class Small:
    flavor: str
    model: bytes
    link: str | None
    signature: Signature


def data(rows: int, seed: int) -> Matrix:
    """Numbers with NaN, infinities and huge values; column 5 holds codes, some unseen."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, FEATURES))
    matrix[:, 5] = rng.integers(0, 50, rows)
    for value, share in (
        (np.nan, 0.1),
        (np.inf, 0.02),
        (-np.inf, 0.02),
        (0.0, 0.05),
        (1e300, 0.01),
    ):
        matrix[:, :5][rng.random((rows, 5)) < share] = value
    matrix[rng.random(rows) < 0.1, 5] = np.nan
    return matrix


def _training() -> tuple[Matrix, np.ndarray]:
    matrix = np.nan_to_num(data(2000, 0), nan=np.nan, posinf=5.0, neginf=-5.0)
    matrix[np.abs(matrix) > 100] = 9.0
    matrix[matrix[:, 5] >= len(CATEGORIES), 5] = np.nan
    filled = np.nan_to_num(matrix)
    noise = np.random.default_rng(1).normal(size=2000)
    labels = (filled[:, 0] + filled[:, 1] * filled[:, 2] + (filled[:, 5] % 3) + noise > 1).astype(
        float
    )
    return matrix, labels


def signature() -> Signature:
    numbers = tuple(Input(f"x{index}") for index in range(FEATURES - 1))
    return Signature((*numbers, Input("kind", "category", CATEGORIES)), (Output("probability"),))


def train_lightgbm(**overrides) -> lightgbm.Booster:
    matrix, labels = _training()
    settings = {"objective": "binary", "num_leaves": 15, "verbosity": -1, "deterministic": True,
                "force_row_wise": True, "num_threads": 1, "seed": 3, **overrides}  # fmt: skip
    names = list(signature().names)
    if settings["objective"] == "multiclass":
        labels = labels + (np.nan_to_num(matrix[:, 0]) > 0)
    rows = lightgbm.Dataset(matrix, labels, feature_name=names, categorical_feature=[5])
    return lightgbm.train(settings, rows, 20)


def train_catboost(**overrides) -> catboost.CatBoost:
    matrix, labels = _training()
    settings = {"loss_function": "Logloss", "iterations": 20, "depth": 4, "random_seed": 3,
                "thread_count": 1, "verbose": False, "allow_writing_files": False, **overrides}  # fmt: skip
    model = catboost.CatBoost(settings)
    if settings["loss_function"] == "MultiClass":
        labels = labels + (np.nan_to_num(matrix[:, 0]) > 0)
    columns = np.asfortranarray(matrix, dtype=np.float32)
    return model.fit(catboost.Pool(columns, labels, feature_names=list(signature().names)))


@pytest.fixture(scope="session")
def lightgbm_model() -> Small:
    text = train_lightgbm().model_to_string().encode()
    return Small("lightgbm", text, None, signature())


@pytest.fixture(scope="session")
def catboost_model() -> Small:
    return Small("catboost", to_bytes(train_catboost()), "logistic", signature())


@pytest.fixture(params=["lightgbm", "catboost"])
def small(request):
    return request.getfixturevalue(f"{request.param}_model")


@pytest.fixture
def bundle(small, tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    rows = [{**{f"x{i}": float(i) for i in range(5)}, "kind": "c03"}]
    return build_bundle(
        folder, flavor=small.flavor, model=small.model, link=small.link,
        signature=small.signature, rows=rows,
    )  # fmt: skip
