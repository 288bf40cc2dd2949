"""The real `luigi` command with real jobs, and the same bytes from two empty stores."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines import Publish
from pipelines.run import run
from pipelines.session import Session
from registry.aliases import open_aliases
from registry.artifacts.fetch import fetch, read_manifest
from registry.artifacts.store import open_environment
from registry.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
#: The first date with two days to train on: three days of sources, two models, one verdict.
DATE = "2013-01-03"


class Place:
    """An empty store with its own folder of the machine."""

    def __init__(self, folder: Path) -> None:
        self.env = {"PENSTOCK_STORE": str(folder / "store"), "PENSTOCK_VAR": str(folder / "var")}
        self.folder = folder

    def luigi(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the command as its users do, with codes that tell kinds of failure apart."""
        command = [str(Path(sys.executable).with_name("luigi")), "--module", "pipelines", *words]
        codes = ["--retcode-task-failed", "30", "--retcode-scheduling-error", "35"]
        return subprocess.run(
            # Luigi locks a command line by itself; another suite may run beside this one.
            [*command, "--local-scheduler", "--no-lock", *codes],
            cwd=ROOT,
            env={**os.environ, **self.env, **env},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def store(self):
        return open_environment(Settings.load(self.env))

    def manifests(self):
        store = self.store
        return {path: read_manifest(store, path) for path in store.list("manifests/")}

    def contents(self):
        return {manifest.key: manifest.content for manifest in self.manifests().values()}


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "place")


@pytest.mark.timeout(300)
def test_processes_and_threads_make_the_same_bytes_in_two_empty_stores(tmp_path):
    """Models included: once by `luigi --workers 4`, which forks for each step, once by a run."""
    forked, threaded = Place(tmp_path / "forked"), Place(tmp_path / "threaded")
    make_by_processes(forked)
    about: dict[str, Any] = {"usecase": "flights", "date": dt.date.fromisoformat(DATE)}
    assert len(run(Session(Settings.load(threaded.env)), [Publish(**about)]).made) == 10
    assert threaded.contents() == forked.contents()
    runs = {m.producer.run for p in (threaded, forked) for m in p.manifests().values()}
    assert len(runs) == 2
    compare_bytes(forked, threaded)


def make_by_processes(place):
    """Everything is made, once; the second time nothing."""
    words = ("Publish", "--usecase", "flights", "--date", DATE, "--workers", "4")
    done, again = place.luigi(*words), place.luigi(*words)
    assert done.returncode == again.returncode == 0, done.stderr
    assert "This progress looks :)" in done.stderr
    assert "1 complete ones were encountered" in again.stderr
    manifests = place.manifests().values()
    assert sorted(m.family for m in manifests) == sorted(
        ["source", "features"] * 3 + ["model", "evaluation"] * 2
    )
    assert {m.producer.runner for m in manifests} == {"local"}
    assert len({m.producer.run for m in manifests}) == 1
    assert len(list(place.store.list("attempts/"))) == 3 * 10  # record, log and end of each
    aliases = open_aliases(Settings.load(place.env), place.store)
    (decision,) = aliases.log.entries("flights", "champion")
    assert decision.candidate.key in place.contents()
    assert list((place.folder / "var" / "work").iterdir()) == []


def compare_bytes(one, other):
    """Every file of every artifact."""
    others = other.manifests()
    for path, manifest in one.manifests().items():
        mine = fetch(one.store, manifest.reference(path), one.folder / "cache")
        theirs = fetch(other.store, others[path].reference(path), other.folder / "cache")
        for file in manifest.files:
            assert (mine / file.path).read_bytes() == (theirs / file.path).read_bytes()


def test_luigi_with_one_process_makes_one_step(place):
    words = ("Ingest", "--usecase", "flights", "--date", DATE)
    assert place.luigi(*words).returncode == 0
    (manifest,) = place.manifests().values()
    assert manifest.date == DATE
    assert "1 complete ones were encountered" in place.luigi(*words).stderr


@pytest.mark.parametrize(
    ("words", "env", "code", "said"),
    [
        (("--date", "2014-01-02"), {}, 35, "there are no data of flights for 2014-01-02"),
        (("--date", "2013-01-02"), {"PENSTOCK_LOCAL_MEMORY_MB": "100"}, 30, "no-fit"),
        (("--date", "2013-01-02"), {"PENSTOCK_STORE": "ftp://x"}, 35, "PENSTOCK_STORE"),
        (("--date", "yesterday"), {}, 4, "yesterday"),
        (("--date", "2013-01-02", "--changes", "{not json"), {}, 4, "Expecting property name"),
        ((), {}, 4, "requires the 'date' parameter"),
    ],
)
def test_luigi_tells_failures_apart_by_its_return_code(place, words, env, code, said):
    done = place.luigi("Ingest", "--usecase", "flights", *words, **env)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert not any(path.startswith("manifests/") for path in place.store.list(""))


def test_luigi_offers_the_steps_and_their_parameters(place):
    done = place.luigi("Train", "--help")
    assert done.returncode == 0
    for word in ("--usecase", "--date", "--changes", "--algorithm", "folder below usecases/"):
        assert word in done.stdout
