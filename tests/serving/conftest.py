"""Models and services that the tests of this folder share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.serving import models
from tests.serving.rig import Publisher, Service, service


@dataclass(frozen=True)
class Trained:
    """A bundle and what it answers to `ROWS`."""

    folder: Path
    answers: list[float]


ROWS = [models.row(models.SIGNATURE, number) for number in range(16)]
#: One request for each row, in MLflow's form.
BODIES = [json.dumps({"dataframe_records": [row]}).encode() for row in ROWS]


def trained(folder: Path, flavor: models.Flavor, seed: int) -> Trained:
    """Train a model on the usual signature."""
    bundle = models.train(folder, flavor=flavor, seed=seed)
    return Trained(folder, models.Oracle(bundle).predict(ROWS))


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    """Three LightGBM models and a CatBoost one, which answer differently."""
    folder = tmp_path_factory.mktemp("bundles")
    made = {
        f"lightgbm-{seed}": trained(folder / f"l{seed}", "lightgbm", seed) for seed in (1, 2, 3)
    }
    made["catboost-4"] = trained(folder / "c4", "catboost", 4)
    return made


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    """An empty environment."""
    return Publisher(tmp_path)


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, bundles: dict[str, Trained]
) -> Iterator[Service]:
    """A service of one model that the tests of a module share and do not change."""
    folder = tmp_path_factory.mktemp("shared")
    publisher = Publisher(folder)
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with service(publisher, folder / "service", "flights") as running:
        yield running


@pytest.fixture
def run(publisher: Publisher, tmp_path: Path) -> Callable[..., object]:
    """`run(**settings)` serves what `publisher` publishes, as a context manager."""

    def start(*names: str, wait: bool = True, **settings: object) -> object:
        return service(publisher, tmp_path / "service", *names, wait=wait, **settings)

    return start
