"""Train: a window of features becomes a model bundle."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from jobs import algorithms, measures
from jobs.best import best_of
from jobs.outcome import Inputs, Outcome, Parameters, folder, folders
from jobs.window import read_window
from registry.features.view import FeatureView
from registry.models.building import build_bundle
from registry.models.bundle import ViewVersion
from registry.models.predictor import open_checked
from registry.models.tables import encode_table
from registry.usecase import load_features

_GOLDEN_ROWS = 4
OUTPUT = "probability"


def run(inputs: Inputs, parameters: Parameters, out: Path) -> Outcome:
    """Write a bundle for a model of `date`, trained on the days in input `features`.

    Parameters: usecase, date, algorithm ("lightgbm", "catboost", or the name of a predictor of the
    use case's own), model (hyperparameters), seed, threads, and horizon where it is not the use
    case's own. Input `search`, where there is one, brings better hyperparameters. Labels that were not known before `date` are left out.

    Raises:
        BadData: no rows, one class only, broken inputs, or hyperparameters that the library
            does not know or that penstock sets itself.
    """
    view: FeatureView = load_features(parameters["usecase"], parameters.get("horizon", "")).VIEW
    date = dt.date.fromisoformat(parameters["date"])
    table, labels = read_window(view, folders(inputs, "features"), before=date)
    signature = view.signature(view.vocabularies(table), [OUTPUT])
    matrix = encode_table(signature, table)
    trained = algorithms.train(signature, matrix, labels, _with_best(inputs, parameters))
    bundle = build_bundle(
        out,
        flavor=trained.flavor,
        model=trained.model,
        link=trained.link,
        own=trained.own,
        signature=signature,
        rows=_golden_rows(table, view),
        view=ViewVersion(view.name, view.version),
    )
    predictor = open_checked(bundle, parameters["threads"])
    fitted = measures.measure(labels, predictor.predict(matrix)[:, 0])
    predictor.close()
    metrics = {f"train_{name}": value for name, value in fitted.items()}
    return Outcome(metrics, msgspec.to_builtins(signature), rows=len(labels))


def _with_best(inputs: Inputs, parameters: Parameters) -> Parameters:
    """The parameters, with the hyperparameters that the input `search` found, if there is one."""
    if not inputs.get("search"):
        return parameters
    best = best_of(folder(inputs, "search"), parameters["algorithm"])
    return {**parameters, "model": {**parameters["model"], **best}}


def _golden_rows(table: pa.Table, view: FeatureView) -> list[dict[str, Any]]:
    """A few rows, spread over the window."""
    spread = np.linspace(0, table.num_rows - 1, _GOLDEN_ROWS).astype(np.int64)
    rows: list[dict[str, Any]] = table.select(view.names).take(spread).to_pylist()
    return rows
