"""Models, rows and answers of the serving benchmark, and a service of one of the models."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import numpy as np

LIGHTGBM, CATBOOST = "lightgbm", "catboost"
MODEL = "m"
FEATURES, ROWS = 28, 4096


@dataclass(frozen=True)
class Cell:
    """What one cell measured: requests a second, ms, CPU seconds per 1,000 requests.

    `others` is what neither the server nor wrk used, in cores: above 0.2 distrust the cell.
    """

    rps: float
    p50: float
    p99: float
    cpu: float
    errors: int
    others: float = 0.0


Results = dict[str, dict[str, Cell]]


@dataclass(frozen=True)
class Data:
    """A model file, and rows to ask about."""

    model: Path
    rows: np.ndarray


class Side:
    """Penstock with one imported model, and default settings beside `environment`."""

    def __init__(self, folder: Path, flavor: str, model: Path) -> None:
        """Import the model into a store of its own in `folder`."""
        self.environment = {
            "PENSTOCK_STORE": str(folder / "store"),
            "PENSTOCK_VAR": str(folder / "var"),
            "PENSTOCK_ENVIRONMENT": "dev/bench",
            "PYTHONPATH": str(Path.cwd()),
        }
        folder.mkdir(parents=True)
        file = folder / ("model.cbm" if flavor == CATBOOST else "model.txt")
        file.write_bytes(model.read_bytes())
        words = ["import", str(file), "--name", MODEL, "--alias", "champion", "--why", "benchmark"]
        penstock = str(Path(sys.executable).with_name("penstock"))
        subprocess.run(
            [penstock, *words],
            check=True, stdout=subprocess.DEVNULL, env={**os.environ, **self.environment},
        )  # fmt: skip

    def beside(self, **settings: object) -> Side:
        """The same model with other settings of the service."""
        other = copy.copy(self)
        given = {f"PENSTOCK_SERVING_{name.upper()}": str(value) for name, value in settings.items()}
        other.environment = {**self.environment, **given}
        return other

    def command(self, port: int) -> list[str]:
        """What starts the service on `port`."""
        settings = [f"{name}={value}" for name, value in self.environment.items()]
        return ["env", *settings, sys.executable, "-m", "serving", MODEL, "--port", str(port)]


def prepare(folder: Path, flavor: str, model: bytes) -> Data:
    """Write a model, rows with six decimals, and what the model answers to them."""
    folder.mkdir(parents=True)
    rows = np.round(np.random.default_rng(4).normal(size=(ROWS, FEATURES)), 6)
    (folder / "model.txt").write_bytes(model)
    np.save(folder / "rows.npy", rows)
    np.save(folder / "expected.npy", _answers(folder / "model.txt", flavor, rows))
    return Data(folder / "model.txt", rows)


def read(folder: Path, flavor: str) -> Data:
    """What `prepare`, or a harness, wrote."""
    assert flavor in (LIGHTGBM, CATBOOST)
    return Data(folder / "model.txt", np.load(folder / "rows.npy"))


def _answers(model: Path, flavor: str, rows: np.ndarray) -> np.ndarray:
    if flavor == LIGHTGBM:
        return np.asarray(lightgbm.Booster(model_file=model).predict(rows, num_threads=1))
    import catboost

    loaded = catboost.CatBoost().load_model(str(model), format="cbm")
    return np.asarray(loaded.predict(rows, prediction_type="Probability", thread_count=1)[:, 1])


def catboost_home(folder: Path, harness_home: Path) -> Path:
    """A home for the harness in which its model is a CatBoost one; environments are shared."""
    import catboost

    random = np.random.default_rng(1)
    matrix = random.normal(size=(20_000, FEATURES))
    signal = matrix @ random.normal(size=FEATURES) + 2 * matrix[:, 0] * matrix[:, 1]
    labels = (signal + random.normal(size=len(matrix)) > 0) * 1
    settings = {"loss_function": "Logloss", "iterations": 500, "depth": 6, "random_seed": 3,
                "thread_count": 2, "verbose": False, "allow_writing_files": False}  # fmt: skip
    model = catboost.CatBoost(settings)
    model.fit(matrix, labels)
    folder.mkdir(parents=True)
    (folder / "venvs").symlink_to(harness_home / "venvs")
    model.save_model(str(folder / "trained.cbm"))
    prepare(folder / "data", CATBOOST, (folder / "trained.cbm").read_bytes())
    return folder
