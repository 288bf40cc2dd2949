"""What `plan` says is what a run then does, and both are what a plain model expects."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.plan import plan
from pipelines.run import root_task, run
from pipelines.session import Session, using
from pipelines.task import ArtifactTask
from registry.aliases.drafts import live_after
from registry.artifacts.manifest import Manifest
from registry.errors import Refused, UsageError
from registry.usecase import STEPS, Gate, UseCaseSettings
from tests.pipelines.small import DAY, NAME, World, a_usecase, evaluated, labels, told

CHAMPION = (NAME, "champion")


def by_key(model: Manifest) -> dict[str, float]:
    """A quality that looks random and is not."""
    return evaluated(0.4 + int(model.key[:4], 16) / 2**16 / 10)


class Model:
    """What must exist, as trees of tuples; no hashes, no store."""

    def __init__(self) -> None:
        self.epochs: dict[Any, int] = {}
        self.exists: dict[Any, str] = {}
        self.lost: set[Any] = set()

    def needed(self, use: UseCaseSettings, date: dt.date) -> Iterator[tuple[str, Any]]:
        """Every step of a date that no pin decides, with its tree."""
        days = self._days(use, date)
        for day in sorted(
            {d for one in [*days, date, _after(date)] for d in self._reads(use, one)}
        ):
            yield f"ingest {NAME} {day}", self.ingest(use, day)
        for day in [*days, date, _after(date)]:
            yield f"features {NAME} {day}", self.features(use, day)
        for algorithm in use.algorithms:
            train = self.train(use, date, algorithm)
            yield f"train {NAME} {date} {algorithm}", train
            parts = (train, self.features(use, date), [self.features(use, day) for day in days])
            yield (
                f"evaluate {NAME} {date} {algorithm}",
                self._tree("evaluate", use, date, None, parts),
            )

    def ingest(self, use: UseCaseSettings, day: dt.date) -> Any:
        return self._tree("ingest", use, day, None, ())

    def features(self, use: UseCaseSettings, day: dt.date) -> Any:
        return self._tree(
            "features", use, day, None, [self.ingest(use, d) for d in self._reads(use, day)]
        )

    def train(self, use: UseCaseSettings, date: dt.date, algorithm: str) -> Any:
        about = (algorithm, use.algorithms[algorithm], use.seed)
        window = [self.features(use, day) for day in self._days(use, date)]
        return self._tree("train", use, date, about, window)

    def _tree(self, step: str, use: UseCaseSettings, day: dt.date, about: Any, parts: Any) -> Any:
        base = repr((step, use.versions[step], day, about, parts))
        return base, self.epochs.get(base, 0)

    def _reads(self, use: UseCaseSettings, day: dt.date) -> list[dt.date]:
        return [day - dt.timedelta(use.lookback_days - n) for n in range(use.lookback_days + 1)]

    def _days(self, use: UseCaseSettings, date: dt.date) -> list[dt.date]:
        return [date - dt.timedelta(use.window_days - n) for n in range(use.window_days)]


def _after(date: dt.date) -> dt.date:
    return date + dt.timedelta(days=1)


EDITS = st.one_of(
    st.tuples(st.just("set"), st.sampled_from(["leaves", "depth"]), st.integers(1, 3)),
    st.tuples(st.just("version"), st.sampled_from(STEPS), st.integers(1, 2)),
    st.tuples(st.just("seed"), st.none(), st.integers(0, 1)),
    st.tuples(st.just("retract"), st.none(), st.integers(0, 99)),
    st.tuples(st.just("lose"), st.none(), st.integers(0, 99)),
    st.tuples(st.just("promote"), st.none(), st.integers(0, 99)),
    st.tuples(st.just("rollback"), st.none(), st.none()),
    st.tuples(st.just("nothing"), st.none(), st.none()),
)


class Team:
    """Somebody who edits settings, retracts, promotes, and runs; the model looks on."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder, by_key)
        self.model = Model()
        self.use = a_usecase(gate=Gate(max_log_loss_regression=0.0))

    def edit(self, what: str, name: Any, value: Any) -> None:
        if what == "set":
            algorithm = {"leaves": "lightgbm", "depth": "catboost"}[name]
            changed = {**self.use.algorithms, algorithm: {name: value}}
            self.use = dataclasses.replace(self.use, algorithms=changed)
        elif what == "version":
            versions = {**self.use.versions, name: value}
            self.use = dataclasses.replace(self.use, versions=versions)
        elif what == "seed":
            self.use = dataclasses.replace(self.use, seed=value)
        elif what == "retract":
            self.retract(value)
        elif what == "lose":
            self.lose(value)
        elif what == "promote":
            self.promote(value)
        elif what == "rollback":
            self.rollback()

    def retract(self, pick: int) -> None:
        known = {key: tree for tree, key in self.model.exists.items()}
        live = [m for m in self.world.manifests() if m.key in known]
        fresh = [m for m in live if self.model.epochs.get(known[m.key][0], 0) == m.epoch]
        if fresh:
            manifest = sorted(fresh, key=lambda m: m.key)[pick % len(fresh)]
            self.world.retract(manifest)
            self.model.epochs[known[manifest.key][0]] = manifest.epoch + 1

    def lose(self, pick: int) -> None:
        """An artifact is gone from the store, as after a wrong clean-up; what it led to is there."""
        known = {key: tree for tree, key in self.model.exists.items()}
        there = sorted((m for m in self.world.manifests() if m.key in known), key=lambda m: m.key)
        there = [m for m in there if m.family != "model"]
        if there:
            gone = there[pick % len(there)]
            self.world.store.delete(self.world.reference(gone).path)
            self.model.lost.add(known[gone.key])
            del self.model.exists[known[gone.key]]

    def promote(self, pick: int) -> None:
        models = sorted(self.world.manifests("model/"), key=lambda m: m.key)
        live = live_after(self.world.aliases.log.entries(*CHAMPION))
        if models and models[pick % len(models)].key != (live and live.key):
            chosen = self.world.reference(models[pick % len(models)])
            self.world.aliases.promote(CHAMPION, chosen, who="team", why="by hand")

    def rollback(self) -> None:
        try:
            self.world.aliases.rollback(CHAMPION, who="team", why="by hand")
        except Refused:
            return

    def run(self, date: dt.date) -> None:
        """Plan, run, plan again, and compare all three with the model."""
        with patch("pipelines.task.load_usecase", lambda _: self.use):
            planned = plan(self.world.session(), [root_task(NAME, date)])
            before = self.world.aliases.log.entries(*CHAMPION)
            session = self.world.session()
            run(session, [root_task(NAME, date)])
            after = plan(self.world.session(), [root_task(NAME, date)])
        made = told(session).steps("committed")
        said = labels(planned, "run")
        assert len(made) == len(set(made))
        assert set(said) <= set(made), "planned and not made"
        assert set(made) <= {*said, *labels(planned, "decide")}, "made and not planned"
        assert not set(made) & set(labels(planned, "reuse"))
        keys = {step.step: step.key for step in planned if step.action == "run"}
        assert {label: _key(session, label) for label in keys} == keys
        assert {step.action for step in after} == {"reuse"}
        self._compare(date, made)
        entries = self.world.aliases.log.entries(*CHAMPION)
        assert len(entries) - len(before) <= 1
        assert len({e.candidate.key for e in entries if e.action in ("publish", "reject")}) == sum(
            e.action in ("publish", "reject") for e in entries
        )

    def _compare(self, date: dt.date, made: list[str]) -> None:
        needed = dict(self.model.needed(self.use, date))
        expected = {label for label, tree in needed.items() if tree not in self.model.exists}
        modelled = {label for label in made if not _is_pinned(label)}
        assert modelled <= expected
        # What is lost is made again only where something that runs reads it.
        assert {needed[label] for label in expected - modelled} <= self.model.lost
        keys = self._keys()
        self.model.exists.update({needed[label]: keys[label] for label in modelled})
        self.model.lost -= {needed[label] for label in modelled}

    def _keys(self) -> dict[str, str]:
        """The key that each modelled step has with the settings of now, complete or not."""
        found: dict[str, str] = {}
        with patch("pipelines.task.load_usecase", lambda _: self.use), using(self.world.session()):
            stack: list[Any] = [root_task(NAME, DAY + dt.timedelta(days=n)) for n in range(3)]
            while stack:
                task = stack.pop()
                stack += task.requires()
                if isinstance(task, ArtifactTask) and not _is_pinned(task.label):
                    found[task.label] = task.recipe.key
        return found


def _is_pinned(label: str) -> bool:
    return "champion" in label or label.startswith("predict")


def _key(session: Session, label: str) -> str:
    return next(words[2] for words in told(session).told if words[:2] == ("committed", label))


@given(
    rounds=st.lists(
        st.tuples(st.lists(EDITS, max_size=3), st.integers(0, 2)), min_size=1, max_size=5
    )
)
def test_a_plan_is_what_a_run_does(rounds):
    with TemporaryDirectory() as folder:
        team = Team(Path(folder))
        for edits, day in rounds:
            for edit in edits:
                team.edit(*edit)
            team.run(DAY + dt.timedelta(days=day))


def test_a_plan_of_an_empty_store_names_what_only_the_run_decides(world):
    planned = world.plan()
    assert labels(planned, "decide") == [
        "evaluate small 2020-01-10 champion",
        "predict small 2020-01-10",
        "publish small 2020-01-10",
    ]
    assert len(labels(planned, "run")) == 13
    assert {step.why for step in planned if step.action == "run"} == {"missing"}
    positions = {step.step: place for place, step in enumerate(planned)}
    assert positions["ingest small 2020-01-08"] < positions["features small 2020-01-08"]
    assert planned[-1].step == "predict small 2020-01-10"


def test_a_plan_tells_what_changed_and_how_long_it_took(world, usecase):
    world.run()
    usecase(
        versions={**a_usecase().versions, "train": 2}, seed=5,
        snapshot=lambda: {"source": "snapshot-2"},
    )  # fmt: skip
    why = {step.step: step.why for step in world.plan()}
    assert why["train small 2020-01-10 lightgbm"] == (
        "version 1 → 2; seed 0 → 5; input features changed"
    )
    assert why["ingest small 2020-01-10"] == "source source snapshot-1 → snapshot-2"
    seconds = {step.seconds for step in world.plan() if step.action == "run"}
    assert seconds == {2.0}


def test_a_plan_changes_nothing(world):
    world.run()
    before = list(world.store.list(""))
    world.plan(DAY + dt.timedelta(days=1), {"lightgbm": {"leaves": 9}})
    assert list(world.store.list("")) == before


@pytest.mark.parametrize(
    ("date", "changes", "words"),
    [
        (dt.date(2019, 12, 31), {}, "nothing to train on"),
        (dt.date(2020, 1, 1), {}, "nothing to train on"),
        (dt.date(2020, 1, 31), {}, "there are no data of small for 2020-02-01"),
        (dt.date(2021, 1, 1), {}, "there are no data of small for"),
        (DAY, {"xgboost": {}}, "unknown algorithm 'xgboost'"),
        (DAY, {"lightgbm": 3}, "the changes for lightgbm are 3"),
        (DAY, {"lightgbm": {"leaves": float("nan")}}, "nan"),
    ],
)
def test_a_bad_parameter_is_one_clear_error(world, date, changes, words):
    for act in (world.plan, world.run):
        with pytest.raises(UsageError) as failure:
            act(date, changes)
        assert words in str(failure.value)
    assert list(world.store.list("")) == []
