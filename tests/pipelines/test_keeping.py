"""What holds artifacts of real runs: aliases, decisions, pins, age."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from pipelines.keeping import Retention, roots_of
from registry.artifacts.collect import collect, find_garbage, plan_collection
from registry.artifacts.layout import pin_path
from tests.pipelines.small import DAY, World, labels

DAYS = 86400.0
LATER = time.time() + 100 * DAYS
#: Nothing is young a hundred days on.
BRIEF = Retention(days=10, revisions=1)


def families(world: World, retention: Retention, now: float = LATER) -> dict[str, int]:
    garbage = find_garbage(world.store, roots_of(world.store, retention), now)
    found: dict[str, int] = {}
    for doomed in garbage.artifacts:
        found[doomed.family] = found.get(doomed.family, 0) + 1
    return found


def empty(world: World, retention: Retention, now: float = LATER) -> None:
    roots = roots_of(world.store, retention)
    garbage = find_garbage(world.store, roots, now)
    plan = plan_collection(world.store, "plan", garbage, "me", now, DAYS)
    assert collect(world.store, plan, roots, "me", now + DAYS)


def test_what_is_young_is_held(world: World):
    world.run()
    assert families(world, Retention(days=200)) == {}


def test_what_is_live_is_held_with_its_inputs_and_its_report(world: World):
    world.run()
    world.run(DAY + dt.timedelta(days=1))
    before = set(world.store.list("manifests/"))
    live = world.aliases.live("small", "champion")
    empty(world, BRIEF)
    left = world.manifests()
    assert 0 < len(left) < len(before)
    assert live.key in {manifest.key for manifest in left}
    assert {m.family for m in left} == {"source", "features", "model", "evaluation"}
    kept = {manifest.key for manifest in left}
    assert all(reference.key in kept for manifest in left for reference in manifest.references)


@pytest.mark.parametrize(("revisions", "models"), [(1, 1), (2, 2), (3, 3)])
def test_the_newest_revisions_hold_what_they_name(world: World, revisions: int, models: int):
    for number in range(3):
        world.run(DAY + dt.timedelta(days=number))
    empty(world, Retention(days=10, revisions=revisions))
    assert len(world.manifests("model/")) == models


def test_a_family_may_be_kept_for_longer(world: World):
    world.run()
    held = Retention(days=10, families={"predictions": 200}, revisions=1)
    assert "predictions" in families(world, BRIEF)
    assert "predictions" not in families(world, held)


def test_a_young_pin_holds(world: World):
    world.run()
    world.run(DAY + dt.timedelta(days=1))
    scorer = world.one("predictions").references[0]
    path = next(p for p in world.store.list(f"pins/small/{DAY}/") if "scorer" in p)
    pin = world.store.get(path)
    assert scorer.key.encode() in pin
    later = dt.datetime.fromtimestamp(LATER, dt.UTC).isoformat(timespec="seconds").encode()
    when = pin.split(b'"when": "')[1][:25]
    world.store.create(pin_path("small", "2020-02-01", "scorer-0001"), pin.replace(when, later))
    empty(world, Retention(days=10, revisions=1))
    assert scorer.key in {manifest.key for manifest in world.manifests()}


def test_a_run_makes_again_what_was_collected(world: World):
    world.run()
    content = {manifest.key: manifest.content for manifest in world.manifests()}
    empty(world, BRIEF)
    assert labels(world.plan(), "run")
    world.run()
    assert {manifest.key: manifest.content for manifest in world.manifests()} == content
    assert len(world.aliases.log.entries("small", "champion")) == 1
