"""CatBoost: from a window to a model file.

It wants all rows at once: as float32, column by column, which it reads without another copy.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from jobs import device
from jobs.training.calls import refused
from jobs.training.fitting import Fitting, Trained, check_own
from jobs.training.window import Window
from registry.errors import BadData

_OWN = {
    "loss_function", "objective", "random_seed", "random_state", "thread_count", "task_type",
    "devices", "allow_writing_files", "verbose", "logging_level", "silent", "cat_features", "train_dir",
    "early_stopping_rounds", "use_best_model",
}  # fmt: skip
#: What it calls the number of iterations.
_ITERATIONS = {"iterations", "num_boost_round", "n_estimators", "num_trees"}


def train(fitting: Fitting) -> Trained:
    """Grow trees.

    Raises:
        BadData: a hyperparameter is set by penstock, or refused by the library.
    """
    import catboost

    from registry.models.catboost import link_of, to_bytes

    rows, further = _pool(fitting, fitting.window), _further(fitting)
    try:
        trained = device.trained(_settings(fitting), lambda model: model.fit(rows, **further))
    except (catboost.CatBoostError, TypeError, ValueError) as error:
        raise refused("CatBoost", str(error) or type(error).__name__) from None
    model = to_bytes(trained)
    return Trained("catboost", model, link_of(trained), iterations=trained.tree_count_)


def _settings(fitting: Fitting) -> dict[str, Any]:
    model = dict(fitting.model)
    check_own(model, _OWN)
    if fitting.stopping and "eval_metric" in model:
        raise BadData(
            "eval_metric cannot be a hyperparameter beside early stopping",
            "it stops by the log loss",
            "Remove one of the two.",
        )
    if fitting.continued:
        model = {name: value for name, value in model.items() if name not in _ITERATIONS}
        model["iterations"] = fitting.continued.iterations
    return model | {
        "loss_function": "Logloss",
        "random_seed": fitting.seed,
        "thread_count": fitting.threads,
        "allow_writing_files": False,
        "verbose": False,
    }


def _further(fitting: Fitting) -> dict[str, Any]:
    """What is asked of the fit besides its rows."""
    words: dict[str, Any] = {}
    if fitting.stopping:
        words["eval_set"] = _pool(fitting, fitting.stopping.held)
        words["early_stopping_rounds"] = fitting.stopping.rounds
        words["use_best_model"] = True
    if fitting.continued:
        words["init_model"] = _read(fitting.continued.parent)
    return words


def _pool(fitting: Fitting, window: Window) -> Any:
    import catboost

    return catboost.Pool(
        window.matrix(fitting.signature, dtype=np.float32, order="F"),
        window.labels,
        weight=fitting.weigh(window.labels),
        feature_names=list(fitting.signature.names),
    )


def _read(model: bytes) -> Any:
    import catboost

    with tempfile.TemporaryDirectory(prefix="penstock-") as folder:
        path = Path(folder) / "model.cbm"
        path.write_bytes(model)
        return catboost.CatBoost().load_model(str(path))
