"""Train: a window of features becomes a model bundle, in memory that its rows do not fill."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import numpy as np

from jobs import algorithms, measures
from jobs.best import best_of
from jobs.outcome import Inputs, Outcome, Parameters, folder, folders
from jobs.training import options
from jobs.training.fitting import Trained
from jobs.training.memory import release
from jobs.training.window import Window, open_window
from registry.features.view import FeatureView
from registry.models.building import build_bundle
from registry.models.bundle import Bundle, ViewVersion
from registry.models.predictor import open_checked
from registry.models.signature import Signature
from registry.settings import Settings
from registry.usecase import load_features

_GOLDEN_ROWS = 4
OUTPUT = "probability"


def run(inputs: Inputs, parameters: Parameters, out: Path) -> Outcome:
    """Write a bundle for a model of `date`, trained on the days in input `features`.

    Parameters: usecase, date, algorithm ("lightgbm", "catboost", or the name of a predictor of the
    use case's own), model (hyperparameters), seed, threads, `training` (see
    `jobs.training.options`) and horizon where it is not the use case's own. Input `search`, where
    there is one, brings better hyperparameters; input `parent` the model whose trees come first.
    Labels that were not known before `date` are left out.

    Raises:
        BadData: no rows, one class only, broken inputs, a parent of other inputs, or
            hyperparameters that the library does not know or that penstock sets itself.
    """
    view: FeatureView = load_features(parameters["usecase"], parameters.get("horizon", "")).VIEW
    return learn(view, inputs, parameters, out)


def learn(view: FeatureView, inputs: Inputs, parameters: Parameters, out: Path) -> Outcome:
    """`run`, of features of `view`."""
    date = dt.date.fromisoformat(parameters["date"])
    window = open_window(view, folders(inputs, "features"), date)
    parent = Bundle.read(folder(inputs, "parent")) if inputs.get("parent") else None
    vocabularies = options.vocabularies(window, parent)
    signature = view.signature(vocabularies, [OUTPUT])
    fitting = options.fitting(_with_best(inputs, parameters), signature, window, parent, _cache())
    trained = algorithms.train(fitting, parameters["usecase"], parameters["algorithm"])
    release()
    bundle = _write(out, trained, signature, window)
    metrics = _measured(bundle, window, parameters["threads"])
    if trained.iterations is not None:
        metrics["iterations"] = float(trained.iterations)
    return Outcome(metrics, msgspec.to_builtins(signature), rows=len(window))


def _cache() -> Path:
    """Where binned rows of this machine lie."""
    return Path(Settings.load().var) / "cache" / "binned"


def _write(out: Path, trained: Trained, signature: Signature, window: Window) -> Bundle:
    """The bundle, with golden rows that are spread over the window."""
    spread = np.linspace(0, len(window) - 1, _GOLDEN_ROWS).astype(np.int64)
    return build_bundle(
        out,
        flavor=trained.flavor,
        model=trained.model,
        link=trained.link,
        own=trained.own,
        signature=signature,
        rows=window.rows(spread),
        view=ViewVersion(window.view.name, window.view.version),
    )


def _measured(bundle: Bundle, window: Window, threads: int) -> dict[str, float]:
    """How the bundle, as it will be used, does on the window."""
    predicted, first = np.empty(len(window)), 0
    predictor = open_checked(bundle, threads)
    try:
        for chunk in window.chunks(bundle.signature):
            predicted[first : first + len(chunk)] = predictor.predict(chunk)[:, 0]
            first += len(chunk)
    finally:
        predictor.close()
    fitted = measures.measure(window.labels, predicted)
    return {f"train_{name}": value for name, value in fitted.items()}


def _with_best(inputs: Inputs, parameters: Parameters) -> Parameters:
    """The parameters, with the hyperparameters that the input `search` found, if there is one."""
    if not inputs.get("search"):
        return parameters
    best = best_of(folder(inputs, "search"), parameters["algorithm"])
    return {**parameters, "model": {**parameters["model"], **best}}
