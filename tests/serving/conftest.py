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
    """A bundle, requests to `/invocations`, and the number that it answers to each."""

    folder: Path
    answers: list[float]
    bodies: list[bytes]


ROWS = [models.row(models.SIGNATURE, number) for number in range(16)]
#: One request for each row, in MLflow's form.
BODIES = [json.dumps({"dataframe_records": [row]}).encode() for row in ROWS]


def trained(folder: Path, flavor: models.Flavor, seed: int) -> Trained:
    """Train a model on the usual signature."""
    bundle = models.train(folder, flavor=flavor, seed=seed)
    return Trained(folder, models.Oracle(bundle).predict(ROWS), BODIES)


def all_numbers(folder: Path, seed: int) -> Trained:
    """Train a model of numbers only, to be asked in the plainest form and in another, in turns."""
    bundle = models.train(folder, flavor="lightgbm", seed=seed, signature=models.NUMERIC)
    rows = [models.row(models.NUMERIC, number) for number in range(16)]
    plain = [json.dumps({"instances": [list(row.values())]}).encode() for row in rows]
    named = [json.dumps({"dataframe_records": [row]}).encode() for row in rows]
    bodies = [body for pair in zip(plain, plain, named, strict=True) for body in pair]
    answers = [answer for answer in models.Oracle(bundle).predict(rows) for _ in range(3)]
    return Trained(folder, answers, bodies)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    """Three LightGBM models and a CatBoost one, which answer differently."""
    folder = tmp_path_factory.mktemp("bundles")
    made = {
        f"lightgbm-{seed}": trained(folder / f"l{seed}", "lightgbm", seed) for seed in (1, 2, 3)
    }
    made["catboost-4"] = trained(folder / "c4", "catboost", 4)
    return made


@pytest.fixture(scope="session")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    """Three LightGBM models of numbers only, which answer differently."""
    folder = tmp_path_factory.mktemp("numbers")
    return {f"lightgbm-{seed}": all_numbers(folder / f"n{seed}", seed) for seed in (1, 2, 3)}


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
