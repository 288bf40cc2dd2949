from __future__ import annotations

import json

import pytest

from jobs import evaluate, search, train
from jobs.best import best_of
from jobs.tables import read_table
from registry.errors import BadData
from registry.models.bundle import Bundle
from tests.jobs.conftest import parameters, training

TRIALS = [{}, {"num_leaves": 2, "max_depth": 1}, {"num_leaves": 15}]


@pytest.fixture(scope="module")
def trials(featured, tmp_path_factory):
    """Evaluations of three small models on two days."""
    root = tmp_path_factory.mktemp("trials")
    folders = []
    for number, trial in enumerate(TRIALS):
        for day in (3, 4):
            model, evaluated = root / f"m{number}-{day}", root / f"e{number}-{day}"
            model.mkdir()
            evaluated.mkdir()
            train.run({"features": featured[:2]}, training(**trial), model)
            inputs = {"model": model, "features": [featured[day]], "window": featured[:2]}
            evaluate.run(inputs, parameters(), evaluated)
            folders.append(evaluated)
    return folders


def asked(**more):
    return parameters(algorithm="lightgbm", trials=TRIALS, **more)


def test_a_search_leaves_a_table_the_best_and_a_page(trials, out):
    outcome = search.run({"trials": trials}, asked(), out)
    table = read_table(out / "trials.parquet")
    losses = table["log_loss"].to_pylist()
    best = losses.index(min(losses))
    assert table["num_leaves"].to_pylist() == [None, 2, 15]
    assert table["against_own"][0].as_py() == 0
    assert outcome.metrics == {
        "log_loss": losses[best], "own_log_loss": losses[0], "trials": 3.0,
    }  # fmt: skip
    assert json.loads((out / "best.json").read_text())["model"] == TRIALS[best]
    page = (out / "report.html").read_text()
    assert "flights, 2013-06-06: lightgbm, 2 trials" in page
    assert page.count("<svg") == 1
    again = out.parent / "again"
    again.mkdir()
    search.run({"trials": trials}, asked(), again)
    assert all((again / p.name).read_bytes() == p.read_bytes() for p in out.iterdir())


def test_a_search_by_halving_tells_each_rung(trials, out):
    """Three trials, of which the better of the others or what is set goes on to the last rung."""
    rounds = [[10, 10, 10], [20, 20, 20]]
    alone = out.parent / "alone"
    alone.mkdir()
    search.run({"trials": trials}, asked(), alone)
    losses = read_table(alone / "trials.parquet")["log_loss"].to_pylist()
    winner = losses.index(min(losses))
    members = sorted({0, winner})
    last = [folder for trial in members for folder in trials[2 * trial : 2 * trial + 2]]
    inputs = {"trials": trials, "rung1": last}
    outcome = search.run(inputs, asked(halving={"eta": 3, "rounds": rounds}), out)
    table = read_table(out / "trials.parquet")
    assert table["rung"].to_pylist() == [1, 1, 1] + [2] * len(members)
    assert table["rounds"].to_pylist() == [10] * 3 + [20] * len(members)
    assert table["trial"].to_pylist() == [0, 1, 2, *members]
    assert table["went_on"].to_pylist()[:3] == [trial in members for trial in range(3)]
    assert json.loads((out / "best.json").read_text())["model"] == TRIALS[winner]
    assert (outcome.metrics["rungs"], outcome.metrics["evaluated"]) == (2.0, 3.0 + len(members))
    page = (out / "report.html").read_text()
    assert "Boosting rounds by rung: 10, 20; of each the best 1/3 went on." in page
    assert "flights, 2013-06-06: lightgbm, 2 trials" in page
    assert page.count("<svg") == 1
    with pytest.raises(BadData, match="evaluations do not fit"):
        search.run(
            {**inputs, "rung1": trials[:3]}, asked(halving={"eta": 3, "rounds": rounds}), out
        )


def test_a_model_after_a_search_has_its_best(trials, featured, out, tmp_path):
    search.run({"trials": trials[4:6] + trials[2:4]}, asked() | {"trials": TRIALS[2:0:-1]}, out)
    best = best_of(out, "lightgbm")
    models = [tmp_path / name for name in ("searched", "set")]
    for folder in models:
        folder.mkdir()
    train.run({"features": featured[:2], "search": [out]}, training(), models[0])
    train.run({"features": featured[:2]}, training(**best), models[1])
    files = [Bundle.read(folder).header.model.sha256 for folder in models]
    assert files[0] == files[1]
    with pytest.raises(BadData, match="not of catboost"):
        best_of(out, "catboost")


def test_trials_that_do_not_fit(trials, out):
    with pytest.raises(BadData, match="5 evaluations do not fit 3 trials"):
        search.run({"trials": trials[:5]}, asked(), out)
    mixed = [trials[0], trials[3], trials[4]]
    with pytest.raises(BadData, match="other rows"):
        search.run({"trials": mixed}, asked(), out)
