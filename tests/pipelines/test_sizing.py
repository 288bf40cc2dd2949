"""First sizes: from the peaks of earlier manifests, from what was killed, or as declared."""

from __future__ import annotations

import pytest

from pipelines.cost import Prices
from pipelines.dispatch import Dispatcher, Policy
from pipelines.index import Index
from pipelines.runners.machine import AT_ONCE, Script, StubMachine
from pipelines.runners.stub import StubRunner
from pipelines.saving import savings
from pipelines.sizing import LOOKED_AT, Sizing
from registry.artifacts.attempt import JobSpec, RecipeRecord, attempts_of
from registry.artifacts.catalog import Catalog
from registry.artifacts.commit import Output, commit
from registry.artifacts.fetch import find_manifest
from registry.artifacts.journal import Journal
from registry.artifacts.layout import manifest_path
from registry.artifacts.provenance import producer_of
from registry.artifacts.store import open_store
from registry.artifacts.store.memory import named_memory
from tests.pipelines.small import Recorder
from tests.races import race_threads
from tests.registry.makers import a_recipe, commit_one

OOM = Script(cause="oom")


class History:
    """A store in which jobs of a given peak are made, one date after the other."""

    def __init__(self, name, folder):
        self.store = named_memory(name)
        self.folder = folder
        self.peak = 100.0
        self.read = 0
        self.scripts: list[Script] = []
        self.machine = StubMachine()

    def pipeline(self, sizing=True, run="run-1"):
        runner = StubRunner(
            self.work, lambda _: self.scripts.pop(0) if self.scripts else AT_ONCE, self.machine
        )
        known = Sizing(self.store, Index(self.store)) if sizing else None
        return Dispatcher(self.store, runner, run, Policy(pause=0.0), Recorder(), known)

    def work(self, attempt, reference):
        out = self.folder / attempt.write_id
        out.mkdir()
        (out / "made.txt").write_text("made")
        used = {"peak_rss_mb": self.peak, "input_bytes": self.read, "cpu_s": 1.0, "wall_s": 10.0}
        output = Output(out, resources=used)
        commit(open_store(reference.root), attempt, output, producer_of(attempt))

    def make(self, date, declared="s", pipeline=None, **changes):
        """Make the artifact of a date; the sizes that it took."""
        recipe = a_recipe(date=date, **changes)
        spec = JobSpec("train", RecipeRecord.of(recipe), self.inputs())
        (pipeline or self.pipeline()).make(spec, "train", declared)
        return [attempt.size for attempt in attempts_of(self.store, recipe.key)]

    def inputs(self):
        """One artifact of as many bytes as jobs read now, if they read any."""
        if not self.read:
            return {}
        recipe = a_recipe(family="features", parameters={"bytes": self.read})
        there = find_manifest(self.store, recipe)
        if there is None:
            there = commit_one(self.store, recipe, {"rows": b"x" * self.read}).manifest
        return {"features": there.reference(manifest_path(recipe))}


@pytest.fixture
def history(request, tmp_path):
    return History(request.node.name, tmp_path)


def test_without_history_the_declared_size_is_taken(history):
    assert history.make("2013-01-01", "m") == ["m"]


@pytest.mark.parametrize(
    ("peak", "size"), [(100.0, "s"), (800.0, "s"), (900.0, "m"), (5000.0, "l"), (10.0**6, "xl")]
)
def test_the_smallest_size_with_headroom(history, peak, size):
    history.peak = peak
    history.make("2013-01-01", "m")
    assert history.make("2013-01-02", "m") == [size]


def test_the_largest_of_the_newest_peaks_counts(history):
    for day, peak in enumerate([20000.0, 100.0, 2000.0, 100.0, 100.0, 100.0, 100.0], 1):
        history.peak = peak
        history.make(f"2013-01-{day:02d}")
    assert history.make("2013-01-20") == ["m"]


def test_jobs_of_alike_input_are_believed(history):
    """A day of few rows needs little, whatever the large days needed."""
    for day in range(1, 9):
        history.read, history.peak = [(1000, 300.0), (50_000, 5000.0)][day % 2]
        history.make(f"2013-01-{day:02d}", "m")
    for read, size in ((1500, "s"), (40_000, "l"), (400_000, "xl")):
        history.read = read
        assert history.make(f"2013-02-{1 + read // 1000 % 28:02d}", "m") == [size]


def test_what_is_learnt_of_large_input_says_nothing_of_small(history):
    pipeline = history.pipeline()
    history.read, history.scripts = 50_000, [OOM]
    assert history.make("2013-01-01", pipeline=pipeline) == ["s", "m"]
    assert history.make("2013-01-02", pipeline=pipeline) == ["m"]


def test_savings_are_told_of_what_was_measured(history):
    """Three that asked for l at a peak of 100 MiB, by what their manifests say."""
    for day in range(1, 4):
        history.make(f"2013-01-{day:02d}", "l", history.pipeline(sizing=False))
    journal = Journal(history.store)
    journal.refresh()
    (saving,) = savings(Catalog(history.store), journal.tries(), Prices(3600.0))
    assert (saving.step, saving.asked, saving.better) == ("model flights", "3 × l", "s")
    assert (saving.cpu_s, saving.price) == (30.0, 30.0)


def test_what_was_killed_at_a_size_does_not_begin_there_again(history):
    """However small the peak was: RLIMIT_DATA counts what is never touched."""
    history.scripts = [OOM]
    assert history.make("2013-01-01") == ["s", "m"]
    assert history.make("2013-01-02") == ["m"]


def test_a_run_learns_from_itself(history):
    pipeline = history.pipeline()
    history.scripts = [OOM]
    assert history.make("2013-01-01", pipeline=pipeline) == ["s", "m"]
    assert history.make("2013-01-02", pipeline=pipeline) == ["m"]


def test_algorithms_and_horizons_have_histories_of_their_own(history):
    history.peak = 2000.0
    history.make("2013-01-01", parameters={"algorithm": "catboost"})
    assert history.make("2013-01-02", parameters={"algorithm": "lightgbm"}) == ["s"]
    assert history.make("2013-01-02", parameters={"algorithm": "catboost"}) == ["m"]


def test_a_gpu_stays(history):
    history.make("2013-01-01", "gpu")
    assert history.make("2013-01-02", "gpu") == ["gpu"]


def test_a_damaged_manifest_is_no_hint(history):
    history.store.create("manifests/model/flights/date=2013-01-01/--damaged.json", b"{")
    assert history.make("2013-01-02", "m") == ["m"]


def test_history_is_read_once(history, monkeypatch):
    for day in range(1, 4):
        history.make(f"2013-01-{day:02d}")
    pipeline = history.pipeline()
    lists: list[str] = []
    reads: list[str] = []

    def noting(method, paths):
        def call(path):
            paths.append(path)
            return method(path)

        return call

    monkeypatch.setattr(history.store, "list", noting(history.store.list, lists))
    monkeypatch.setattr(history.store, "get", noting(history.store.get, reads))
    for day in range(4, 10):
        history.make(f"2013-01-{day:02d}", pipeline=pipeline)
    assert len([prefix for prefix in lists if prefix.startswith("manifests/")]) == 1
    earlier = {path for path in reads if "date=2013-01-03" in path}
    assert 1 <= len(earlier) <= LOOKED_AT


def test_two_pipelines_with_different_histories_end_with_one_job(history):
    history.peak = 2000.0
    history.make("2013-01-01")
    pipelines = [history.pipeline(run="run-1"), history.pipeline(sizing=False, run="run-2")]
    sizes = race_threads(2, lambda who: history.make("2013-01-02", "s", pipelines[who]))
    assert sizes[0] == sizes[1]
    assert len(sizes[0]) == 1
