"""Training with LightGBM, CatBoost or a use case's own class, on one float64 matrix of codes.

The same rows, hyperparameters, seed and number of threads give the same bytes: the libraries
depend on the number of threads, which is why it comes from the recipe and never from the machine.
"""

from __future__ import annotations

import ctypes
import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jobs import device
from jobs.outcome import Parameters
from jobs.window import Labels
from registry.errors import BadData, PenstockError
from registry.models.bundle import Flavor, Link
from registry.models.own import Own, OwnPredictor, newest, own_predictors, refuse_pickle
from registry.models.signature import Matrix, Signature

#: What penstock sets itself, by LightGBM's main names.
_LIGHTGBM_OWN = {
    "objective", "seed", "num_threads", "deterministic", "force_row_wise", "force_col_wise",
    "verbosity", "data", "valid", "input_model", "output_model", "categorical_feature",
    "machines", "device_type", "linear_tree",
}  # fmt: skip
_CATBOOST_OWN = {
    "loss_function", "objective", "random_seed", "random_state", "thread_count", "task_type", "devices",
    "allow_writing_files", "verbose", "logging_level", "silent", "cat_features", "train_dir",
}  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """A model file, and what a bundle must say of it."""

    flavor: Flavor
    model: bytes
    link: Link | None = None
    own: Own | None = None


def train(signature: Signature, matrix: Matrix, labels: Labels, parameters: Parameters) -> Trained:
    """Train on `matrix` (rows, inputs) and `labels` (0 or 1) by parameters' `algorithm`.

    Raises:
        BadData: the algorithm is unknown; a hyperparameter is unknown, set by penstock, or refused
            by the library.
    """
    algorithm, model = parameters["algorithm"], dict(parameters["model"])
    seed, threads = parameters["seed"], parameters["threads"]
    if algorithm == "lightgbm":
        return Trained("lightgbm", *_lightgbm(signature, matrix, labels, model, seed, threads))
    if algorithm == "catboost":
        return Trained("catboost", *_catboost(signature, matrix, labels, model, seed, threads))
    kind = newest(parameters["usecase"], algorithm)
    if kind is None:
        raise _unknown(algorithm, parameters["usecase"])

    def fit(complete: Mapping[str, Any]) -> bytes:
        return kind.train(
            signature, matrix, labels, parameters=complete, seed=seed, threads=threads
        )

    own = Own(parameters["usecase"], kind.name, kind.version, kind.format)
    return Trained("python", _own(kind, model, fit), own=own)


def _own(
    kind: type[OwnPredictor], model: Mapping[str, Any], fit: Callable[[Mapping[str, Any]], bytes]
) -> bytes:
    unknown = sorted(model.keys() - kind.parameters.keys())
    if unknown:
        raise BadData(
            f"{kind.name} has no parameter {', '.join(unknown)}",
            f"it takes {', '.join(kind.parameters) or 'none'}",
            "Correct the name in the use case's settings or on the command line.",
        )
    try:
        trained = fit({**kind.parameters, **model})
    except (PenstockError, MemoryError):
        raise
    except Exception as error:
        raise _refused(kind.name, error) from error
    refuse_pickle(trained)
    return trained


def _unknown(algorithm: str, usecase: str) -> BadData:
    own = ", ".join(sorted({each.name for each in own_predictors(usecase)}))
    more = f", and {own} of usecases/{usecase}/predictor.py" if own else ""
    return BadData(
        f"unknown algorithm {algorithm!r}", f"known are lightgbm and catboost{more}", "Choose."
    )


def _lightgbm(
    signature: Signature,
    matrix: Matrix,
    labels: Labels,
    model: dict[str, Any],
    seed: int,
    threads: int,
) -> tuple[bytes, Link | None]:
    _check_lightgbm(model)  # loads the library, as `registry.models.lightgbm` wants it loaded
    import lightgbm

    settings = model | {
        "objective": "binary",
        "seed": seed,
        "num_threads": threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    inputs = enumerate(signature.inputs)
    categorical = [position for position, member in inputs if member.type == "category"]
    rows = lightgbm.Dataset(
        matrix, labels, feature_name=list(signature.names), categorical_feature=categorical
    )
    try:
        booster = lightgbm.train(settings, rows)
    except (lightgbm.basic.LightGBMError, TypeError, ValueError) as error:
        raise _refused("LightGBM", error) from None
    return booster.model_to_string().encode(), None


def _catboost(
    signature: Signature,
    matrix: Matrix,
    labels: Labels,
    model: dict[str, Any],
    seed: int,
    threads: int,
) -> tuple[bytes, Link | None]:
    import catboost

    from registry.models.catboost import link_of, to_bytes

    _check_own(model, _CATBOOST_OWN)
    settings = model | {
        "loss_function": "Logloss",
        "random_seed": seed,
        "thread_count": threads,
        "allow_writing_files": False,
        "verbose": False,
    }
    columns = np.asfortranarray(matrix, dtype=np.float32)
    rows = catboost.Pool(columns, labels, feature_names=list(signature.names))
    try:
        trained = device.trained(settings, lambda model: model.fit(rows))
    except (catboost.CatBoostError, TypeError, ValueError) as error:
        raise _refused("CatBoost", error) from None
    return to_bytes(trained), link_of(trained)


def _check_lightgbm(model: Mapping[str, Any]) -> None:
    """LightGBM only warns of a name it does not know, so a slip would train another model."""
    main = _lightgbm_names()
    unknown = sorted(name for name in model if name not in main)
    if unknown:
        raise BadData(
            f"LightGBM has no parameter {', '.join(unknown)}",
            "it would train without it",
            "Correct the name in the use case's settings or on the command line.",
        )
    _check_own({main[name]: value for name, value in model.items()}, _LIGHTGBM_OWN)


def _check_own(model: Mapping[str, Any], own: set[str]) -> None:
    taken = sorted(own & model.keys())
    if taken:
        raise BadData(
            f"{', '.join(taken)} cannot be a hyperparameter",
            "penstock sets it, or every model here has it alike",
            "Remove it; seed and threads are settings of the use case.",
        )


@functools.cache
def _lightgbm_names() -> dict[str, str]:
    """Every parameter name and alias of the installed LightGBM, with its main name."""
    from registry.models.lightgbm import library

    size = ctypes.c_int64()
    buffer = ctypes.create_string_buffer(1 << 20)
    if library().LGBM_DumpParamAliases(
        ctypes.c_int64(len(buffer)), ctypes.byref(size), buffer
    ):  # pragma: no cover - the call cannot fail with a buffer
        raise BadData("LightGBM does not list its parameters", "", "Install it again.")
    aliases = json.loads(buffer.value)
    return {name: main for main, others in aliases.items() for name in (main, *others)}


def _refused(library: str, error: Exception) -> BadData:
    """BadData for what a library says; MemoryError where it ran out of it, which a size cures."""
    if "bad alloc" in str(error).lower().replace("_", " "):
        raise MemoryError(f"{library}: {error}") from None
    first = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
    return BadData(f"{library} refuses to train", first, "Correct the hyperparameters.")
