"""LightGBM: from a window to a model file, in memory that the binned rows bound."""

from __future__ import annotations

import ctypes
import functools
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from jobs.training import cache
from jobs.training.bins import Rows
from jobs.training.booster import Booster
from jobs.training.calls import call, spelled
from jobs.training.fitting import Fitting, Stopping, Trained, check_own
from jobs.training.window import Window
from registry.errors import BadData
from registry.models.lightgbm import library

#: What penstock sets itself, by LightGBM's main names. A file on one machine is in no recipe.
_OWN = {
    "objective", "seed", "num_threads", "deterministic", "force_row_wise", "force_col_wise",
    "verbosity", "data", "valid", "input_model", "output_model", "categorical_feature",
    "machines", "device_type", "linear_tree", "early_stopping_round", "forcedbins_filename",
    "forcedsplits_filename",
}  # fmt: skip
_ITERATIONS = 100  # the library's own default


def train(fitting: Fitting) -> Trained:
    """Grow trees.

    Raises:
        BadData: a hyperparameter is unknown, set by penstock, or refused by the library.
    """
    settings = _settings(fitting)
    text = spelled(settings)
    with cache.binned(fitting, settings, text) as rows:
        _weigh(fitting, rows, fitting.window)
        with Booster.on(rows, text) as booster:
            best = _grow(fitting, booster, rows, settings["num_iterations"])
            return Trained("lightgbm", booster.text(best), iterations=best)


def _settings(fitting: Fitting) -> dict[str, Any]:
    """Every setting that the library is given, by its main name."""
    model = _main_names(fitting.model)
    check_own(model, _OWN)
    if fitting.stopping and "metric" in model:
        raise BadData(
            "metric cannot be a hyperparameter beside early stopping",
            "it stops by the log loss",
            "Remove one of the two.",
        )
    continued = fitting.continued.iterations if fitting.continued else None
    inputs = enumerate(fitting.signature.inputs)
    return model | {
        "num_iterations": continued or model.get("num_iterations", _ITERATIONS),
        "objective": "binary",
        "seed": fitting.seed,
        "num_threads": fitting.threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
        "categorical_feature": [n for n, member in inputs if member.type == "category"],
    }


def _weigh(fitting: Fitting, rows: Rows, window: Window) -> None:
    """Give rows their weights, and what the parent says of them."""
    weights = fitting.weigh(window.labels)
    if weights is not None:
        rows.set("weight", weights)
    if fitting.continued:
        with Booster.read(fitting.continued.parent) as parent:
            rows.set("init_score", parent.raw(window, fitting.signature, fitting.threads))


def _grow(fitting: Fitting, booster: Booster, rows: Rows, iterations: int) -> int:
    """Grow trees; returns how many iterations the model keeps."""
    if fitting.continued:
        with Booster.read(fitting.continued.parent) as parent:
            booster.begin_with(parent)
    if fitting.stopping:
        return _grow_until(fitting, fitting.stopping, booster, rows, iterations)
    for _ in range(iterations):
        booster.grow()
    return booster.iterations


def _grow_until(
    fitting: Fitting, stopping: Stopping, booster: Booster, rows: Rows, iterations: int
) -> int:
    """Grow until the loss on the held days has not fallen for so many rounds."""
    begun = booster.iterations
    with Rows.like(rows, stopping.held, fitting.signature) as held:
        _weigh(fitting, held, stopping.held)
        booster.watch(held)
        best, lowest = begun, float("inf")
        for done in range(begun + 1, begun + iterations + 1):
            booster.grow()
            loss = booster.loss()
            if loss < lowest:
                best, lowest = done, loss
            elif done - best >= stopping.rounds:
                break
    return best


def _main_names(model: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters by the library's main names.

    LightGBM only warns of a name it does not know, so a slip would train another model.
    """
    main = _known_names()
    unknown = sorted(name for name in model if name not in main)
    if unknown:
        raise BadData(
            f"LightGBM has no parameter {', '.join(unknown)}",
            "it would train without it",
            "Correct the name in the use case's settings or on the command line.",
        )
    doubled = [name for name, n in Counter(main[name] for name in model).items() if n > 1]
    if doubled:
        given = ", ".join(name for name in model if main[name] == doubled[0])
        raise BadData(
            f"{given} mean the same hyperparameter", "only one can hold", f"Keep {doubled[0]}."
        )
    return {main[name]: value for name, value in model.items()}


@functools.cache
def _known_names() -> dict[str, str]:
    """Every parameter name and alias of the installed LightGBM, with its main name."""
    size = ctypes.c_int64()
    buffer = ctypes.create_string_buffer(1 << 20)
    library()
    call("LGBM_DumpParamAliases", ctypes.c_int64(len(buffer)), ctypes.byref(size), buffer)
    aliases = json.loads(buffer.value)
    return {name: main for main, others in aliases.items() for name in (main, *others)}
