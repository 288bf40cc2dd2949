"""runs, status, logs, page, lineage, explain and cost over one failed and one good run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock
from urllib.parse import unquote

import pytest

from pipelines.runners.stub import StubRunner
from registry.artifacts.attempt import AttemptEnd, close_attempt
from registry.artifacts.store import open_store
from tests.penstock.conftest import Place
from tests.penstock.test_runs import WORDS, Jobs
from tests.registry.makers import an_attempt


@dataclass(frozen=True)
class Seen(Place):
    """A place where a run failed at training, and a second one succeeded."""

    failed: str
    good: str

    def key(self, family: str) -> str:
        return min(self.root.glob(f"manifests/{family}/**/*.json")).stem[-16:]


def _stub(jobs: Jobs) -> Callable[[object], StubRunner]:
    return lambda _: StubRunner(jobs)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder = tmp_path_factory.mktemp("seen")
    place, jobs = Place(folder), Jobs()
    with mock.patch("pipelines.runners.local.LocalRunner.of", side_effect=_stub(jobs)):
        jobs.broken = "train"
        assert place.call("run", *WORDS).code == 65
        jobs.broken = ""
        good = place.ok("run", *WORDS, "--json").document["run"]
    (failed,) = {path.stem for path in (folder / "var/pages").iterdir()} - {good}
    return Seen(folder, failed, good)


def test_runs_are_listed_newest_first_and_filtered(seen: Seen) -> None:
    text = seen.ok("runs").out
    assert text.index(seen.good) < text.index(seen.failed)
    assert f"next: penstock status {seen.good}" in text
    assert seen.ok("status").out == text
    for words, runs in (
        (["--failed"], [seen.failed]),
        (["--limit", "1"], [seen.good]),
        (["--date", "2013-01-04", "--usecase", "flights"], [seen.good, seen.failed]),
        (["--date", "2013-01-05"], []),
        (["--usecase", "churn"], []),
    ):
        listed = seen.ok("runs", *words, "--json").document["runs"]
        assert [each["run"]["run"] for each in listed] == runs
    assert "next: penstock runs" in seen.ok("runs", "--usecase", "churn").out


def test_status_says_why_each_step_ran_and_what_failed(seen: Seen) -> None:
    text = seen.ok("status", seen.failed).out
    assert re.search(r"failed +train flights 2013-01-04 lightgbm .* missing", text)
    assert re.search(r"\d+ made, 3 failed, \d+ not reached", text)
    document = seen.ok("status", seen.good, "--json").document
    assert {"made", "decided", "there"} == {step["state"] for step in document["steps"]}
    assert document["status"] == "succeeded"


def test_watching_a_run_that_is_over_ends_at_once(seen: Seen) -> None:
    text = seen.ok("status", seen.failed, "--watch").out
    assert re.search(r"^failed +train flights 2013-01-04 lightgbm", text, re.MULTILINE)
    newest = seen.ok("status", "--watch", "--json").document
    assert newest["run"]["run"] == seen.good


def test_logs_of_a_run_and_of_a_key(seen: Seen) -> None:
    text = seen.ok("logs", seen.failed, "--failed").out
    assert text.count("== train flights") == 3
    assert "the rows are off" in text
    document = seen.ok("logs", seen.failed, "--failed", "--json").document
    key = document["logs"][0]["attempt"]["key"]
    first = seen.ok("logs", key[:16], "--attempt", "1").out
    assert "bad-data, log from store" in first
    assert "attempt 2 (s): committed" in seen.ok("logs", key).out
    assert "the rows are off" in seen.ok("logs", key, "--attempt", "1", "--follow").out
    assert "the rows are off" in seen.ok("logs", seen.failed, "--follow").out
    for words in (["0" * 16], [key, "--attempt", "9"], [seen.good, "--failed"]):
        assert seen.call("logs", *words).code == 66


def test_a_page_links_to_what_was_made(seen: Seen, tmp_path: Path) -> None:
    page = (seen.folder / f"var/pages/{seen.good}.html").read_text()
    (link, *_) = re.findall(r'<a href="([^"]+report\.html)"', page)
    assert (seen.folder / "var/pages" / unquote(link)).is_file()
    out = tmp_path / "deep" / "a page.html"
    assert str(out) in seen.ok("page", seen.failed, "--out", out).out
    assert "the rows are off" in out.read_text()
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    assert seen.call("page", seen.good, "--out", "/proc/no/page.html").code == 73
    assert seen.call("page", "20130210T061500-3f9a1c").code == 66


def test_lineage_both_ways(seen: Seen) -> None:
    up = seen.ok("lineage", "flights@champion").out
    assert re.search(r"^model flights 2013-01-04 \w+  [0-9a-f]{16}\n└─ features: features", up)
    source = seen.key("source")
    down = seen.ok("lineage", source, "--down").out
    assert "predictions flights 2013-01-04" in down
    assert "publish flights@champion revision 1 by tester" in down
    document = seen.ok("lineage", source, "--down", "--json").document
    assert document["direction"] == "down"
    assert all(edge["to"] in document["nodes"] for edge in document["edges"])
    predictions = seen.ok("lineage", seen.key("predictions"), "--down").out
    assert "Nothing was made from it" in predictions
    assert seen.call("lineage", "0" * 16).code == 66


def test_explain_one_and_two(seen: Seen) -> None:
    text = seen.ok("explain", "flights@champion").out
    for label in ("key", "recipe", "parameters", "why", "run", "code", "attempts", "decision"):
        assert re.search(rf"^{label} +\S", text, re.MULTILINE), label
    assert "asked for by tester" in text
    found = seen.root.glob("manifests/model/**/*.json")
    models = [path.stem[-16:] for path in found if "horizon" not in path.stem]
    text = seen.ok("explain", *models).out
    assert re.search(r"itself +algorithm \w+ → \w+", text)
    assert "the files are not the same" in text
    document = seen.ok("explain", models[0], models[0], "--json").document
    assert document["causes"] == []


def test_cost_adds_up(seen: Seen) -> None:
    document = seen.ok("cost", "--json", PENSTOCK_PRICE_CPU_HOUR="2").document
    assert document["prices"] == {"cpu_hour": 2.0, "gib_hour": 0.0}
    assert [bill["group"] for bill in document["bills"]] == [seen.good, seen.failed]
    assert document["total"]["failed"] == 3
    assert re.search(r"^all +\d+ +3 ", seen.ok("cost", "--family").out, re.MULTILINE)
    assert "No work was done yet" in seen.ok("cost", "--day", "--usecase", "churn").out
    assert seen.call("cost", "--price-gib-hour", "-1").code == 78


def test_cost_by_family_tells_better_sizes(place: Place) -> None:
    store = open_store(str(place.root))
    attempt = an_attempt(store, size="l")
    used = {"peak_mb": 412.0, "cpu_s": 3.0, "wall_s": 3600.0}
    close_attempt(store, attempt, AttemptEnd("committed", "", 0, used, 0.0), b"")
    told = place.ok("cost", "--family").out
    assert re.search(r"^model flights +1 × l +s +412 +3600 +7$", told, re.MULTILINE)
    (saving,) = place.ok("cost", "--family", "--json").document["savings"]
    assert (saving["better"], saving["mb_s"]) == ("s", 3600.0 * 7168)
    assert "Better first sizes" not in place.ok("cost").out


def test_a_run_that_cannot_leave_a_page_is_no_failure(place: Place) -> None:
    (place.folder / "var").mkdir()
    (place.folder / "var/pages").write_text("in the way")
    with mock.patch("pipelines.runners.local.LocalRunner.of", side_effect=_stub(Jobs())):
        done = place.ok("run", *WORDS)
    assert "could not be written" in done.err


@pytest.mark.parametrize("words", ["runs", "cost", "lineage 0123456789abcdef", "status"])
def test_an_empty_store_stays_empty(place: Place, words: str) -> None:
    done = place.call(*words.split(), "--json")
    assert isinstance(json.loads(done.out), dict)
    assert not (place.folder / "var").exists()
