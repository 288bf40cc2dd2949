"""Real days, as artifacts of ingest and features, made once."""

from __future__ import annotations

import datetime as dt

import pytest

from jobs import features, ingest
from registry.usecase import load_usecase

LAST = dt.date(2013, 6, 6)
SETTINGS = load_usecase("flights")


def parameters(date=LAST, **more):
    return {"usecase": "flights", "date": date.isoformat(), "seed": 1, "threads": 1, **more}


def training(algorithm="lightgbm", **model):
    small = {"lightgbm": {"num_iterations": 20}, "catboost": {"iterations": 20}}.get(algorithm, {})
    return parameters(algorithm=algorithm, model={**small, **model})


@pytest.fixture(scope="session")
def ingested(tmp_path_factory):
    """Folders of ingest, LAST - 4 … LAST."""
    root = tmp_path_factory.mktemp("ingest")
    folders = []
    for back in range(4, -1, -1):
        date = LAST - dt.timedelta(back)
        folders.append(root / date.isoformat())
        folders[-1].mkdir()
        ingest.run({}, parameters(date), folders[-1])
    return folders


@pytest.fixture(scope="session")
def featured(ingested, tmp_path_factory):
    """Folders of features, LAST - 4 … LAST; the first ones have less history."""
    root = tmp_path_factory.mktemp("features")
    folders = []
    for position in range(5):
        date = LAST - dt.timedelta(4 - position)
        folders.append(root / date.isoformat())
        folders[-1].mkdir()
        days = ingested[max(0, position - 2) : position + 1]
        features.run({"days": days}, parameters(date), folders[-1])
    return folders


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder
