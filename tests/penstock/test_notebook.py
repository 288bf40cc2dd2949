"""The notebook of the documentation runs, on a store that a pipeline made; and what it stands on."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
from pathlib import Path
from unittest import mock

import pyarrow.compute as pc
import pytest

import jobs.__main__
import penstock
import usecases.flights.settings
from pipelines.run import root_task, run
from pipelines.runners.machine import StubMachine
from pipelines.runners.protocol import AttemptReference
from pipelines.runners.stub import StubRunner
from pipelines.session import Session
from registry.artifacts.attempt import Attempt
from registry.artifacts.retract import retract
from registry.artifacts.store import open_environment
from registry.errors import PenstockError
from registry.settings import Settings
from registry.usecase import Gate
from tests.penstock.notebook import execute, write
from tests.repository.tree import ROOT

NOTEBOOK = ROOT / "docs/notebooks/flights.ipynb"
DATE = dt.date(2013, 2, 5)
SMALL = dataclasses.replace(
    usecases.flights.settings.SETTINGS,
    window_days=3,
    lookback_days=1,
    algorithms={"lightgbm": {"num_iterations": 20}, "logistic": {}},
    gate=Gate(-1.0, -1.0, 1.0),
    horizons=(),
)

#: One store for all of them.
pytestmark = pytest.mark.xdist_group("notebook")


def work(_: Attempt, reference: AttemptReference) -> None:
    """Do a job in this process."""
    root, key, digest = reference
    code = jobs.__main__.main(["--root", root, "--attempt", key, "--digest", digest])
    if code:
        raise PenstockError(f"the job ended with {code}")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A store in which flights were run for a date, with three days of window."""
    folder = tmp_path_factory.mktemp("notebook")
    environment = {
        "PENSTOCK_STORE": str(folder / "store"),
        "PENSTOCK_VAR": str(folder / "var"),
        "PENSTOCK_ENVIRONMENT": "dev/tester",
        "PENSTOCK_WHO": "tester",
        "PENSTOCK_WORKERS": "1",
    }
    with (
        mock.patch.dict(os.environ, environment),
        mock.patch.object(usecases.flights.settings, "SETTINGS", SMALL),
    ):
        session = Session(Settings.load(), runner=StubRunner(work, machine=StubMachine()))
        run(session, [root_task("flights", DATE)])
    return environment


@pytest.fixture(autouse=True)
def _there(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_every_cell_runs():
    shown = execute(NOTEBOOK)
    assert shown[0].startswith("<model flights ")
    assert "probability" in "".join(shown)
    assert "lightgbm" in shown[-3]
    assert "quality flights.carrier outside" not in shown[-2]
    assert "'quality features rows'" in shown[-2]


def test_it_shows_what_its_cells_give():
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if "outputs" in cell]
    assert all(cell["outputs"] for cell in cells[:-1]), "python -m tests.penstock.notebook writes"


def test_what_cells_show_is_written_back(tmp_path: Path):
    copy = tmp_path / "copy.ipynb"
    copy.write_text(NOTEBOOK.read_text())
    shown = execute(copy)
    write(copy, shown)
    cells = [cell for cell in json.loads(copy.read_text())["cells"] if "outputs" in cell]
    assert "".join(cells[0]["outputs"][0]["data"]["text/plain"]) == shown[0]
    assert execute(copy) == shown


def test_evaluations_are_one_table():
    table = penstock.evaluations("flights")
    assert sorted(table["algorithm"].to_pylist()) == ["lightgbm", "logistic"]
    assert set(table["date"].to_pylist()) == {"2013-02-05"}
    assert "num_iterations=20" in table["parameters"].to_pylist()
    assert pc.all(pc.greater(table["auc"], 0.5)).as_py()
    first = penstock.artifact(table["model"][0].as_py())
    assert first.manifest.family == "model"


def test_nothing_there_is_an_empty_table():
    assert penstock.evaluations("elsewhere").num_rows == 0
    assert penstock.find("model", "elsewhere") == []


def test_a_model_of_its_own_can_be_loaded():
    found = penstock.find("model", "flights")
    (own,) = [each for each in found if each.manifest.parameters["algorithm"] == "logistic"]
    day = penstock.find("features", "flights")[-1]
    with penstock.load(own.key) as model:
        late = model.predict(day.table("features"))["probability"]
    assert late.null_count == 0
    assert 0 < pc.mean(late).as_py() < 1


def test_what_was_retracted_is_left_out():
    days = penstock.find("features", "flights")
    retract(open_environment(Settings.load()), days[0].key, who="tester", why="test")
    assert [day.key for day in penstock.find("features", "flights")] == [d.key for d in days[1:]]
