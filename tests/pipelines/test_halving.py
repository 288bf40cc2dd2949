"""Searches by successive halving: rungs, who goes on, what a killed run leaves to the next."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from pipelines.halving import Halving, rounds_of, usual_rungs, work_share
from pipelines.plan import plan
from pipelines.publish import Publish
from pipelines.run import run
from pipelines.search import Search
from pipelines.session import using
from registry.artifacts.manifest import Manifest
from registry.errors import PenstockError, UsageError
from registry.halving import sizes
from tests.pipelines.small import DAY, NAME, World, evaluated, told

ABOUT: dict[str, Any] = {"usecase": NAME, "date": DAY}
#: Eight trials besides what is set; the last are the best, and more so with more rounds.
SPACE = {"depth": [1, 2, 3, 4, 5, 6, 7, 8]}
PLAN = {"space": SPACE, "halving": {"eta": 2, "rungs": 3}}
ROUNDS = "num_iterations"


def by_depth(model: Manifest) -> dict[str, float]:
    """Deeper is better; two are always equal."""
    depth = model.parameters["model"].get("depth", 0)
    rounds = model.parameters["model"].get(ROUNDS, 100)
    return evaluated(1.0 - 0.1 * (depth // 2) - 0.001 * rounds)


@pytest.fixture
def world(usecase, tmp_path) -> World:
    return World(tmp_path / "var", by_depth)


def a_search(**more: Any) -> Search:
    return Search(**{**ABOUT, "algorithm": "lightgbm", "plan": {**PLAN, **more}})


def models(world: World) -> dict[int, set[int]]:
    """The depths that were trained, by rounds."""
    found: dict[int, set[int]] = {}
    for manifest in world.manifests("model/"):
        model = manifest.parameters["model"]
        found.setdefault(model.get(ROUNDS, 100), set()).add(model.get("depth", 0))
    return found


def test_the_best_of_each_rung_go_on_and_ties_to_the_first(world):
    """Nine trials, then four, then two and what is set."""
    world.run_steps(a_search())
    assert models(world) == {25: set(range(9)), 50: {4, 6, 7, 8}, 100: {0, 6, 8}}
    found = world.one("search")
    assert found.parameters["halving"] == {"eta": 2, "rounds": [[25] * 9, [50] * 9, [100] * 9]}
    assert world.run_steps(a_search()) == []


def test_the_last_rung_are_ordinary_models(world):
    """What a search without halving made is found again, and the other way round."""
    whole = Search(**{**ABOUT, "algorithm": "lightgbm", "plan": {"space": {"depth": [6, 8]}}})
    world.run_steps(a_search())
    assert world.run_steps(whole) == [f"search {NAME} {DAY} lightgbm"]


def test_the_key_is_known_before_and_hangs_on_every_rung(world):
    key = _key(world, a_search())
    longer = _key(world, a_search(halving={"eta": 2, "rungs": 2}))
    other = _key(world, a_search(halving={"eta": 3, "rungs": 3}))
    plain = _key(world, a_search(halving={}))
    assert len({key, longer, other, plain}) == 4
    world.run_steps(a_search())
    assert world.one("search").key == key


def _key(world: World, task: Search) -> str:
    with using(world.session()):
        return task.recipe.key


def test_a_withdrawn_evaluation_of_a_later_rung_makes_the_search_again(world):
    world.run_steps(a_search())
    short = {m.key for m in world.manifests("model/") if _rounds(m) == 50}
    later = next(m for m in world.manifests("evaluation/") if m.inputs["model"] in short)
    world.retract(later)
    made = world.run_steps(a_search())
    assert Counter(label.split()[0] for label in made) == {"evaluate": 1, "search": 1}
    assert len(world.manifests("search/")) == 2


def _rounds(manifest: Manifest) -> int:
    return int(manifest.parameters["model"].get(ROUNDS, 100))


def test_the_best_flows_on_to_the_verdict(world):
    root = Publish(**{**ABOUT, "searches": {"lightgbm": PLAN}})
    planned = {step.step: step.key for step in plan(world.session(), [root])}
    session = world.session()
    run(session, [root])
    label = f"train {NAME} {DAY} lightgbm"
    assert ("committed", label, planned[label]) in told(session).told
    model = world.one("model", DAY, algorithm="lightgbm")
    assert model.inputs["search"] == [world.one("search").key]
    assert world.aliases.log.entries(NAME, "champion")


@pytest.mark.parametrize("after", [1, 7, 20, 26, 30, 34])
def test_a_run_that_failed_under_way_repeats_nothing(world, after):
    """Whatever the artifact at which a run stops, the next one makes the others, each once."""
    session = world.session()
    commits = 0

    def committed(step: str, manifest: Manifest) -> None:
        nonlocal commits
        commits += 1
        if commits > after:
            raise PenstockError("the pipeline is gone")

    session.observer.committed = committed
    with pytest.raises(PenstockError):
        run(session, [a_search()])
    if 9 <= len(world.manifests("evaluation/")) < 16:
        steps = [step.step for step in plan(world.session(), [a_search()]) if step.action == "run"]
        assert len(steps) > 1  # the plan shows what was decided since
    world.run_steps(a_search())
    assert models(world) == {25: set(range(9)), 50: {4, 6, 7, 8}, 100: {0, 6, 8}}
    assert set(world.attempts().values()) == {1}


def test_rungs_and_rounds():
    halving = Halving.of({"halving": {"eta": 3}}, 64)
    assert halving == Halving(3, 4)
    assert [halving.budget("lightgbm", {"num_iterations": 150}, rung) for rung in range(4)] == [
        {"num_iterations": 6}, {"num_iterations": 17}, {"num_iterations": 50}, {},
    ]  # fmt: skip
    assert usual_rungs(64, 4) == 3
    assert usual_rungs(2, 3) == 1
    assert work_share(sizes(64, 4, 3), Halving(4, 3)) == 3 * 4 / 64


def test_names_of_rounds():
    assert rounds_of("lightgbm", {"n_estimators": 40}) == ("n_estimators", 40)
    assert rounds_of("catboost", {}) == ("iterations", 1000)
    assert rounds_of("lightgbm", {}) == ("num_iterations", 100)


@pytest.mark.parametrize(
    ("halving", "words"),
    [
        ({"eta": 1}, "halving is"),
        ({"eta": 2.5}, "halving is"),
        ({"rungs": -1}, "halving is"),
        ({"share": 2}, "halving is"),
        ("yes", "halving is"),
        ({"eta": 10, "rungs": 4}, "100 rounds of lightgbm cannot be cut into 4 rungs"),
    ],
)
def test_what_cannot_be_halved(world, halving, words):
    with pytest.raises(UsageError, match=words):
        plan(world.session(), [a_search(halving=halving)])


def test_an_algorithm_without_rounds(world, usecase):
    usecase(algorithms={"forest": {}})
    with pytest.raises(UsageError, match="forest cannot be searched by halving"):
        plan(world.session(), [Search(**{**ABOUT, "algorithm": "forest", "plan": PLAN})])
