"""Training with LightGBM and CatBoost on the same float64 matrix of integer codes.

The same rows, hyperparameters, seed and number of threads give the same bytes: both libraries
depend on the number of threads, which is why it comes from the recipe and never from the machine.
"""

from __future__ import annotations

import ctypes
import functools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from jobs.outcome import Parameters
from jobs.window import Labels
from registry.errors import BadData
from registry.models.bundle import Flavor, Link
from registry.models.signature import Matrix, Signature

#: What penstock sets itself, by LightGBM's main names.
_LIGHTGBM_OWN = {
    "objective", "seed", "num_threads", "deterministic", "force_row_wise", "force_col_wise",
    "verbosity", "data", "valid", "input_model", "output_model", "categorical_feature",
    "machines", "device_type", "linear_tree",
}  # fmt: skip
_CATBOOST_OWN = {
    "loss_function", "objective", "random_seed", "random_state", "thread_count", "task_type",
    "allow_writing_files", "verbose", "logging_level", "silent", "cat_features", "train_dir",
}  # fmt: skip


def flavor(algorithm: str) -> Flavor:
    """The flavor of the bundle that `algorithm` gives. Raises BadData for an unknown one."""
    if algorithm == "lightgbm":
        return "lightgbm"
    if algorithm == "catboost":
        return "catboost"
    raise BadData(f"unknown algorithm {algorithm!r}", "known are lightgbm and catboost", "Choose.")


def train(
    algorithm: Flavor, signature: Signature, matrix: Matrix, labels: Labels, parameters: Parameters
) -> tuple[bytes, Link | None]:
    """Train on `matrix` (rows, inputs) and `labels` (0 or 1); return the model file and its link.

    Raises:
        BadData: a hyperparameter is unknown, set by penstock, or refused by the library.
    """
    work = _lightgbm if algorithm == "lightgbm" else _catboost
    model = dict(parameters["model"])
    return work(signature, matrix, labels, model, parameters["seed"], parameters["threads"])


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
    trained = catboost.CatBoost(settings)
    try:
        trained.fit(rows)
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
