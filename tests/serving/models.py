"""Tiny real models: trained once per test session, written as bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from registry.models.bundle import Bundle, write_bundle
from registry.models.catboost import link_of
from registry.models.catboost import to_bytes as catboost_bytes
from registry.models.golden import Golden, make_golden
from registry.models.predictor import open_predictor
from registry.models.signature import Encoder, Input, Output, Signature

CARRIERS = ("AA", "B6", "DL", "UA")
SIGNATURE = Signature(
    inputs=(
        Input("distance", "float64"),
        Input("hour", "int64"),
        Input("carrier", "category", CARRIERS),
    ),
    outputs=(Output("probability"),),
)
NUMERIC = Signature(
    inputs=tuple(Input(f"x{i}", "float64") for i in range(4)), outputs=(Output("probability"),)
)

Flavor = Literal["lightgbm", "catboost"]


def train(folder: Path, *, flavor: Flavor, seed: int, signature: Signature = SIGNATURE) -> Bundle:
    """Train on noise that depends on `seed`, so that two seeds never answer alike."""
    random = np.random.default_rng(seed)
    columns = [_column(member, random) for member in signature.inputs]
    matrix = np.column_stack(columns).astype(np.float64)
    label = (matrix.sum(axis=1) + random.normal(size=len(matrix)) > matrix.sum(axis=1).mean()) * 1
    model, link = (
        _lightgbm(matrix, label, seed) if flavor == "lightgbm" else _catboost(matrix, label, seed)
    )
    folder.mkdir(parents=True)
    content: dict[str, Any] = {"flavor": flavor, "model": model, "link": link}
    rows = [row(signature, i) for i in range(3)]
    unchecked = Golden(tuple(rows), ((0.0,),) * len(rows), 1.0)
    bundle = write_bundle(folder, signature=signature, golden=unchecked, **content)
    golden = make_golden(open_predictor(bundle), signature, rows, flavor)
    return write_bundle(folder, signature=signature, golden=golden, **content)


def _column(member: Input, random: np.random.Generator) -> Any:
    if member.categories:
        return random.integers(0, len(member.categories), 200)
    return random.integers(0, 24, 200) if member.type == "int64" else random.normal(size=200)


def _lightgbm(matrix: Any, label: Any, seed: int) -> tuple[bytes, None]:
    import lightgbm

    parameters = {
        "objective": "binary", "num_leaves": 7, "min_data_in_leaf": 5, "seed": seed,
        "verbose": -1, "num_threads": 1, "deterministic": True, "force_col_wise": True,
    }  # fmt: skip
    booster = lightgbm.train(parameters, lightgbm.Dataset(matrix, label), 10)
    return booster.model_to_string().encode(), None


def _catboost(matrix: Any, label: Any, seed: int) -> tuple[bytes, Any]:
    import catboost

    model = catboost.CatBoost(
        {
            "loss_function": "Logloss", "iterations": 10, "depth": 3, "random_seed": seed,
            "thread_count": 1, "verbose": False, "allow_writing_files": False,
        }
    )  # fmt: skip
    model.fit(matrix, label)
    return catboost_bytes(model), link_of(model)


def row(signature: Signature, number: int) -> dict[str, Any]:
    """Row `number` of an endless series of valid rows."""
    return {member.name: _value(member, number) for member in signature.inputs}


def _value(member: Input, number: int) -> Any:
    if member.categories:
        return member.categories[number % len(member.categories)]
    return number % 24 if member.type == "int64" else ((number * 37) % 101) / 25.0 - 2.0


class Oracle:
    """What a bundle answers, computed in the test's own process."""

    def __init__(self, bundle: Bundle) -> None:
        self.folder = bundle.folder
        self._predictor = open_predictor(bundle)
        self._encoder = Encoder(bundle.signature)

    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        """The first output of each row."""
        answers: list[float] = self._predictor.predict(self._encoder.encode_rows(rows))[
            :, 0
        ].tolist()
        return answers
