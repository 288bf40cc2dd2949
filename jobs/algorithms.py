"""Training with LightGBM, CatBoost or a use case's own class, on a window of labelled rows.

The same rows, hyperparameters, seed and number of threads give the same bytes: the libraries
depend on the number of threads, which is why it comes from the recipe and never from the machine.
"""

from __future__ import annotations

from jobs.training import catboost, lightgbm
from jobs.training.calls import refused
from jobs.training.fitting import Fitting, Trained
from registry.errors import BadData, PenstockError
from registry.models.own import Own, OwnPredictor, newest, own_predictors, refuse_pickle


def train(fitting: Fitting, usecase: str, algorithm: str) -> Trained:
    """Train by `algorithm`: "lightgbm", "catboost", or the name of a class of the use case's.

    Raises:
        BadData: the algorithm is unknown; a hyperparameter is unknown, set by penstock, or refused
            by the library; an option that a class of the use case's own does not have.
    """
    if algorithm == "lightgbm":
        return lightgbm.train(fitting)
    if algorithm == "catboost":
        return catboost.train(fitting)
    kind = newest(usecase, algorithm)
    if kind is None:
        raise _unknown(algorithm, usecase)
    own = Own(usecase, kind.name, kind.version, kind.format)
    return Trained("python", _own(kind, fitting), own=own)


def _own(kind: type[OwnPredictor], fitting: Fitting) -> bytes:
    _check(kind, fitting)
    matrix, complete = (
        fitting.window.matrix(fitting.signature),
        {**kind.parameters, **fitting.model},
    )
    try:
        trained = kind.train(
            fitting.signature, matrix, fitting.window.labels,
            parameters=complete, seed=fitting.seed, threads=fitting.threads,
        )  # fmt: skip
    except (PenstockError, MemoryError):
        raise
    except Exception as error:
        raise refused(kind.name, str(error) or type(error).__name__) from error
    refuse_pickle(trained)
    return trained


def _check(kind: type[OwnPredictor], fitting: Fitting) -> None:
    unknown = sorted(fitting.model.keys() - kind.parameters.keys())
    if unknown:
        raise BadData(
            f"{kind.name} has no parameter {', '.join(unknown)}",
            f"it takes {', '.join(kind.parameters) or 'none'}",
            "Correct the name in the use case's settings or on the command line.",
        )
    if fitting.weights or fitting.stopping or fitting.continued:
        raise BadData(
            f"{kind.name} takes no class weights, early stopping or warm start",
            "they are options of lightgbm and catboost",
            "Leave `training` out of the settings at this horizon.",
        )


def _unknown(algorithm: str, usecase: str) -> BadData:
    own = ", ".join(sorted({each.name for each in own_predictors(usecase)}))
    more = f", and {own} of usecases/{usecase}/predictor.py" if own else ""
    return BadData(
        f"unknown algorithm {algorithm!r}", f"known are lightgbm and catboost{more}", "Choose."
    )
