"""Many dates in one run: verdicts in order, whatever runs side by side; killed, it completes."""

from __future__ import annotations

import datetime as dt
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.backfill import dates_between, order_of, roots_between, standing
from pipelines.plan import plan
from pipelines.run import Result, run
from pipelines.runners.machine import AT_ONCE, Script
from pipelines.runs import list_runs
from registry.artifacts.attempt import Attempt
from registry.artifacts.fetch import read_manifest
from registry.artifacts.manifest import Manifest
from registry.errors import PenstockError, UsageError
from tests.campaigns import backfill as doomed
from tests.pipelines.small import DAY, NAME, World, evaluated
from tests.races import PATIENCE, processes

LAST = DAY + dt.timedelta(days=4)


def backfill(
    world: World,
    first: dt.date = DAY,
    last: dt.date = LAST,
    script: Callable[[Attempt], Script] = lambda _: AT_ONCE,
    **about: Any,
) -> Result:
    session = world.session(script)
    roots = roots_between(NAME, first, last)
    session.order = order_of(roots, **about)
    return run(session, roots)


def verdicts(world: World) -> list[tuple[str, str | None]]:
    """The date of each verdict, and of the champion that was live before it."""
    entries = world.aliases.log.entries(NAME, "champion")
    dates = [read_manifest(world.store, entry.candidate.path).date for entry in entries]
    return [(str(date), before) for date, before in zip(dates, [None, *dates], strict=False)]


def contents(world: World) -> dict[str, str]:
    return {manifest.key: manifest.content for manifest in world.manifests()}


def test_days_of_a_range():
    assert dates_between(DAY, DAY) == [DAY]
    assert len(dates_between(DAY, LAST)) == 5
    with pytest.raises(UsageError, match="after"):
        dates_between(LAST, DAY)


@pytest.mark.parametrize("newest_first", [False, True])
def test_verdicts_are_given_in_the_order_of_dates(world: World, newest_first: bool):
    result = backfill(world, newest_first=newest_first)
    dates = [str(date) for date in dates_between(DAY, LAST)]
    assert verdicts(world) == list(zip(dates, [None, *dates], strict=False))
    assert len(result.made) == len(world.manifests())
    assert len(list_runs(world.store)) == 1
    assert all(day.predicted for day in standing(world.session(), roots_between(NAME, DAY, LAST)))


def test_slow_jobs_change_no_verdict(world: World):
    """The first dates' jobs end last."""

    def script(attempt: Attempt) -> Script:
        date = dt.date.fromisoformat(str(attempt.spec.recipe.date))
        return Script(delay_s=0.02 * max(0, (LAST - date).days))

    backfill(world, script=script)
    assert [date for date, _ in verdicts(world)] == [str(d) for d in dates_between(DAY, LAST)]


def test_it_makes_what_single_runs_in_order_make(world: World, tmp_path: Path):
    backfill(world, newest_first=True)
    other = World(tmp_path / "other")
    for date in dates_between(DAY, LAST):
        other.run(date)
    assert contents(other) == contents(world)


def test_newest_first_starts_with_the_newest(world: World):
    made: list[str] = []

    def script(attempt: Attempt) -> Script:
        if attempt.kind == "train":
            made.append(str(attempt.spec.recipe.date))
        return AT_ONCE

    session = world.session(script)
    session.settings = type(session.settings)(dict(session.settings.values) | {"workers": 1})
    roots = roots_between(NAME, DAY, LAST)
    session.order = order_of(roots, newest_first=True)
    run(session, roots)
    newest = [str(date) for date in reversed(dates_between(DAY, LAST))]
    assert made == [date for date in newest for _ in ("lightgbm", "catboost")]


def test_scoring_uses_the_model_of_its_own_date(world: World):
    """Although later dates were published before it came to be scored."""
    backfill(world)
    for date in dates_between(DAY, LAST):
        scored = world.one("predictions", date)
        (model,) = [r for r in scored.references if r.path.startswith("manifests/model/")]
        assert read_manifest(world.store, model.path).date == str(date)


def test_a_date_without_a_champion_does_not_hold_up_the_next(usecase, tmp_path: Path):
    def score(model: Manifest) -> dict[str, float]:
        return evaluated(0.9 if model.date == str(DAY) else 0.5)

    world = World(tmp_path / "var", score)
    with pytest.raises(PenstockError, match="was live after the verdict"):
        backfill(world)
    days = standing(world.session(), roots_between(NAME, DAY, LAST))
    assert [day.predicted for day in days] == [False, True, True, True, True]


def test_a_failed_date_holds_up_the_verdicts_after_it(world: World):
    def script(attempt: Attempt) -> Script:
        broken = attempt.kind == "train" and attempt.spec.recipe.date == "2020-01-12"
        return Script(exit_code=65) if broken else AT_ONCE

    with pytest.raises(PenstockError, match="failed"):
        backfill(world, script=script)
    assert [date for date, _ in verdicts(world)] == ["2020-01-10", "2020-01-11"]
    assert world.one("model", LAST, algorithm="lightgbm").date == str(LAST)
    backfill(world)
    assert len(verdicts(world)) == 5


def test_the_plan_is_what_runs(world: World):
    roots = roots_between(NAME, DAY, LAST)
    session = world.session()
    session.order = order_of(roots)
    planned = [step for step in plan(session, roots) if step.action == "run"]
    made = backfill(world).made
    # The champions' evaluations and the predictions are decided on the way.
    assert {step.key for step in planned} <= set(made)
    assert backfill(world).run is None


def test_work_grows_with_the_dates(world: World, tmp_path: Path):
    """Twice the dates cost twice the attempts, and each artifact one."""
    backfill(world, DAY, LAST)
    first = sum(world.attempts().values())
    longer = World(tmp_path / "longer")
    backfill(longer, DAY, DAY + dt.timedelta(days=9))
    assert set(longer.attempts().values()) == {1}
    assert sum(longer.attempts().values()) <= 2 * first


POINTS = ("attempt.after_create:7", "publish.after_decision:2", "commit.after_manifest:2")


def test_killed_again_and_again_it_makes_the_same(tmp_path: Path):
    def play(folder: Path, env: dict[str, str]) -> int | None:
        child = processes().Process(target=doomed.run_backfill, args=(env, folder))
        child.start()
        child.join(PATIENCE)
        code: int | None = child.exitcode
        return code

    for point in POINTS:
        env = {"PENSTOCK_CRASH_AT": point, "PENSTOCK_CRASH_LOG": str(tmp_path / "crashes")}
        assert play(tmp_path / "killed", env) == -signal.SIGKILL
    assert play(tmp_path / "killed", {}) == 0
    assert play(tmp_path / "whole", {}) == 0
    assert doomed.contents(tmp_path / "killed") == doomed.contents(tmp_path / "whole")
    assert doomed.verdicts(tmp_path / "killed") == doomed.verdicts(tmp_path / "whole")
    # Each was hit; by both threads of the pool, if the second came before the signal.
    crashed = set((tmp_path / "crashes").read_text().split())
    assert crashed == {point.partition(":")[0] for point in POINTS}
