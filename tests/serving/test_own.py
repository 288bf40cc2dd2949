"""A model of a use case's own serves like the others; one whose class is not here is rejected."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from registry.models.building import build_bundle
from registry.models.bundle import Bundle
from registry.models.logistic import Logistic
from registry.models.own import Own
from tests.serving import models
from tests.serving.conftest import BODIES, ROWS
from tests.serving.rig import Publisher


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    random = np.random.default_rng(0)
    matrix = np.column_stack([
        random.normal(size=300), random.integers(0, 24, 300), random.integers(0, 4, 300),
    ]).astype(np.float64)  # fmt: skip
    labels = (matrix[:, 0] + random.normal(size=300) > 0).astype(np.float64)
    model = Logistic.train(
        models.SIGNATURE, matrix, labels, parameters=Logistic.parameters, seed=0, threads=1
    )
    folder = tmp_path / "own"
    folder.mkdir()
    own = Own("flights", "logistic", 1, "json")
    return build_bundle(
        folder, flavor="python", model=model, link=None, own=own, signature=models.SIGNATURE,
        rows=ROWS[:3],
    )  # fmt: skip


def test_it_serves_and_a_class_that_is_not_here_is_rejected(
    publisher: Publisher, bundle: Bundle, tmp_path: Path, run: Callable[..., Any]
) -> None:
    later = tmp_path / "later"
    shutil.copytree(bundle.folder, later)
    header = json.loads((later / "bundle.json").read_text())
    header["own"]["version"] = 2
    (later / "bundle.json").write_text(json.dumps(header))
    publisher.publish("flights", bundle.folder)
    with run() as service:
        answers = [
            service.post("/invocations", json.loads(body)).json()["predictions"][0]
            for body in BODIES
        ]
        publisher.publish("flights", later)
        service.wait_for_page("flights/logistic version 2")
        assert service.revision() == 1
    assert answers == models.Oracle(bundle).predict(ROWS)
