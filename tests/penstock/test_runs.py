"""plan, run and status, with jobs that commit at once (the real ones run in the demo)."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import pytest

from pipelines.runners.protocol import AttemptReference
from pipelines.runners.stub import StubRunner
from registry.artifacts.attempt import Attempt
from registry.artifacts.commit import Output, commit
from registry.artifacts.provenance import producer_of
from registry.artifacts.store import open_store
from registry.errors import BadData
from tests.penstock.conftest import Place

FILES = {"evaluate": "report.html", "predict": "predictions.parquet"}
WORDS = ("flights", "--date", "2013-01-04")


class Jobs:
    """The work of every job: one file, and for evaluations these metrics."""

    def __init__(self) -> None:
        self.auc = 0.9
        self.broken = ""

    def __call__(self, attempt: Attempt, reference: AttemptReference) -> None:
        kind = attempt.kind
        if kind == self.broken:
            raise BadData("the rows are off", "row 7", "Mend them.")
        metrics = {"auc": self.auc, "log_loss": 0.4, "base_auc": 0.6, "base_log_loss": 0.5}
        with tempfile.TemporaryDirectory() as name:
            Path(name, FILES.get(kind, "data")).write_bytes(attempt.key.encode())
            output = Output(Path(name), metrics=metrics if kind == "evaluate" else {})
            commit(open_store(reference.root), attempt, output, producer_of(attempt))


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    made = Jobs()
    monkeypatch.setattr("pipelines.runners.local.LocalRunner.of", lambda _: StubRunner(made))
    return made


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("plan flight --date 2013-01-04", "flights"),
        ("run ../x --date 2013-01-04", "'../x'"),
        ("run flights", "--date"),
        ("plan flights --date 2013-02-30", "'2013-02-30'"),
        ("plan flights --date 20130204", "2013-02-10"),
        ("run flights --date 2019-01-04", "2013-01-01 to 2013-12-31"),
        ("run flights --date 2013-01-04 --set num_leaves=3", "lightgbm.num_leaves=15"),
        ("run flights --date 2013-01-04 --set forest.depth=3", "'forest'"),
        ("status yesterday", "'yesterday'"),
        ("runs --limit -1", "--limit"),
        ("runs --date tomorrow", "'tomorrow'"),
        ("logs yesterday", "'yesterday'"),
        ("page yesterday", "'yesterday'"),
        ("lineage yesterday --up --down", "--up"),
        ("cost --run --day", "--day"),
    ],
)
def test_words_that_are_off(place: Place, words: str, named: str) -> None:
    done = place.call(*words.split())
    assert done.code == 64, done.err
    assert named in done.err
    assert "Traceback" not in done.err
    assert not (place.folder / "var").exists()


def test_a_run_that_is_not_there(place: Place) -> None:
    done = place.call("status", "20130210T061500-3f9a1c")
    assert done.code == 66
    assert "20130210T061500-3f9a1c" in done.err


def test_a_plan_writes_nothing(place: Place) -> None:
    done = place.run("plan", *WORDS, "--json")
    counts = done.document["counts"]
    assert (done.code, counts["run"], counts["decide"]) == (0, 20, 5)
    assert not (place.folder / "var").exists()
    text = place.ok("plan", *WORDS).out
    assert re.search(r"train flights 2013-01-04 lightgbm +run +missing +[0-9a-f]{16} +s", text)
    assert "20 to run, 5 decided on the way" in text
    assert "next: penstock run flights --date 2013-01-04" in text
    assert place.ok("run", *WORDS, "--dry-run").out == text


@pytest.mark.usefixtures("jobs")
def test_run_then_run_again(place: Place) -> None:
    text = place.ok("run", *WORDS).out
    assert re.search(r"made +train flights 2013-01-04 lightgbm +[0-9a-f]{16}", text)
    assert re.search(r"decided +publish flights 2013-01-04 +published [0-9a-f]{16}", text)
    assert re.search(r"live +flights@champion [0-9a-f]{16} \(revision 1\)", text)
    assert re.search(r"\nreport +var/store/\S+/report.html\n", text)
    (predictions,) = re.findall(r"\npredictions +(\S+)\n", text)
    assert (place.folder / predictions).is_file()
    assert "next: penstock serve flights@champion" in text
    again = place.ok("run", *WORDS).out
    assert "Nothing to do" in again
    assert predictions in again
    changed = place.ok("plan", *WORDS, "--set", "lightgbm.num_leaves=7").out
    assert re.search(r"train flights 2013-01-04 lightgbm num_leaves=7 +run +.*15 → 7", changed)
    assert "ingest" not in changed


@pytest.mark.usefixtures("jobs")
def test_status_lists_and_shows_runs(place: Place) -> None:
    run = place.ok("run", *WORDS, "--json").document
    assert len(run["made"]) == 21
    assert run["verdict"]["action"] == "publish"
    text = place.ok("status").out
    assert re.search(rf"{run['run']}  flights 2013-01-04  succeeded +21 .* tester", text)
    shown = place.ok("status", run["run"]).out
    assert re.search(r"made +train flights 2013-01-04 catboost +[0-9a-f]{16} +s .* missing", shown)
    assert "21 made, 4 decided" in shown
    assert set(place.ok("status", run["run"], "--json").document["made"]) == set(run["made"])


def test_a_rejected_candidate_comes_with_the_way_to_promote_it(place: Place, jobs: Jobs) -> None:
    jobs.auc = 0.5
    done = place.ok("models", "--json")
    assert done.document["aliases"] == []
    with pytest.raises(AssertionError, match="nothing is live"):
        place.ok("run", *WORDS)  # there is no model for the predictions
    text = place.ok("models", "history", "flights").out
    assert re.search(r"1  reject +[0-9a-f]{16} +- .* AUC gains -0.1", text)


def test_a_failed_job_is_named(place: Place, jobs: Jobs, capsys, monkeypatch) -> None:
    from penstock.main import main

    jobs.broken = "train"
    monkeypatch.chdir(place.folder)
    assert main(["run", *WORDS]) == 65
    out, err = capsys.readouterr()
    assert re.search(r"failed +train flights 2013-01-04 lightgbm .*the rows are off", out)
    assert "3 steps failed" in err
    assert main(["status", "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["status"] == "failed"
    assert main(["status", run["run"]["run"]]) == 0
    out, _ = capsys.readouterr()
    assert f"next: penstock logs {run['run']['run']} --failed" in out


def test_an_interrupted_run_says_how_to_go_on(place: Place, jobs: Jobs, monkeypatch) -> None:
    from penstock.main import main

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.run.run", interrupted)
    monkeypatch.chdir(place.folder)
    assert main(["run", *WORDS]) == 130
