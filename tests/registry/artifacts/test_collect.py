"""Collection: planned, then deleted a day later, manifest first; whatever happens in between."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path

import msgspec
import pytest

from registry.aliases import Aliases
from registry.aliases.decision import DecisionLog
from registry.aliases.heads.memory import MemoryHeads
from registry.artifacts.collect import collect, find_garbage, plan_collection
from registry.artifacts.collection import cancel, pending
from registry.artifacts.commit import commit
from registry.artifacts.fetch import fetch, read_manifest
from registry.artifacts.key import Recipe
from registry.artifacts.store import Store, open_store
from registry.crashpoints import POINTS
from registry.errors import NotFound, Refused
from tests.campaigns.collecting import DAY, NOW, build, check_whole, hold, run
from tests.races import PATIENCE, processes
from tests.registry.makers import a_producer, a_recipe, an_attempt, an_output, commit_one

ABOUT = ("flights", "champion")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def names(store: Store, prefix: str) -> set[str]:
    return set(store.list(prefix))


def planned(store: Store, *held: str, now: float = NOW):
    return plan_collection(
        store, f"plan-{now:.0f}", find_garbage(store, hold(*held), now), "me", now, DAY
    )


def test_what_is_held_stays_with_all_it_was_made_from(store: Store):
    made = build(store)
    plan = planned(store, made["model"].path)
    assert [doomed.path for doomed in plan.artifacts] == [made["other"].path]
    assert collect(store, plan, hold(made["model"].path), "me", NOW + DAY - 1) is None
    done = collect(store, plan, hold(made["model"].path), "me", NOW + DAY)
    assert done is not None
    assert (done.artifacts, done.spared) == (1, [])
    assert names(store, "manifests/") == {made["features"].path, made["model"].path}
    assert not [
        name for name in names(store, "data/") if name.startswith(made["other"].manifest.data)
    ]
    check_whole(store)
    assert pending(store) == []


def test_what_is_held_again_is_spared(store: Store):
    made = build(store)
    plan = planned(store)
    assert len(plan.artifacts) == 3
    done = collect(store, plan, hold(made["model"].path), "me", NOW + DAY)
    assert done is not None
    assert done.spared == sorted([made["features"].path, made["model"].path])
    check_whole(store)


def test_an_artifact_that_was_made_anew_meanwhile_is_spared(store: Store):
    made = build(store)
    plan = planned(store)
    store.delete(made["other"].path)
    with tempfile.TemporaryDirectory() as folder:
        recipe = made["other"].manifest.recipe()
        attempt = an_attempt(store, recipe, number=2)
        again = commit(store, attempt, an_output(Path(folder)), a_producer(attempt))
    done = collect(store, plan, hold(made["model"].path), "me", NOW + DAY)
    assert done is not None
    assert again.path in done.spared
    check_whole(store)


def test_files_of_attempts_that_lost_or_died_go_once_they_may_not_commit(store: Store):
    made = build(store)
    lost = [name for name in names(store, "data/") if "-00000000000" in name]
    assert lost
    held = made["model"].path, made["other"].path
    garbage = find_garbage(store, hold(*held), NOW)
    assert garbage.orphans == sorted(lost)
    # Before its deadline nobody knows whether it will win.
    before = min(a.deadline for a in made["attempts"]) - 1
    assert find_garbage(store, hold(*held), before).orphans == []
    plan = planned(store, *held)
    collect(store, plan, hold(*held), "me", NOW + DAY)
    assert not set(lost) & names(store, "data/")
    check_whole(store)


def test_files_of_unknown_origin_stay(store: Store):
    build(store)
    store.create("data/model/flights/--0123456789abcdef/0001-aaaaaaaaaaaa/file", b"x")
    store.create("data/by-hand.txt", b"x")
    garbage = find_garbage(store, hold(), NOW)
    assert garbage.unknown == 2
    assert not [name for name in garbage.orphans if "0123456789abcdef" in name]


def test_inputs_of_attempts_under_way_are_held(store: Store):
    made = build(store)
    recipe = a_recipe(name="later", inputs={"features": made["other"].manifest.key})
    an_attempt(store, recipe, references={"features": made["other"].reference}, timeout=4 * NOW)
    garbage = find_garbage(store, hold(), NOW)
    assert made["other"].path not in [doomed.path for doomed in garbage.artifacts]


def test_a_damaged_manifest_and_its_inputs_stay(store: Store, tmp_path: Path):
    made = build(store)
    path = tmp_path / "store" / made["model"].path
    path.chmod(0o644)
    path.write_bytes(b"{}")
    doomed = {each.path for each in find_garbage(store, hold(), NOW).artifacts}
    assert doomed == {made["other"].path}


def aliases_of(store: Store) -> Aliases:
    return Aliases(DecisionLog(store), MemoryHeads())


def test_what_is_planned_cannot_go_live(store: Store):
    made = build(store)
    aliases = aliases_of(store)
    plan = planned(store)
    with pytest.raises(Refused, match=f"the collection {plan.name} is about to delete it"):
        aliases.promote(ABOUT, made["model"].reference, who="me", why="better")
    with pytest.raises(Refused, match="about to delete"):
        aliases.settle(ABOUT, made["model"].reference, "publish", who="me", why="better")
    cancel(store, plan.name, "me", NOW)
    cancel(store, plan.name, "me", NOW)
    aliases.promote(ABOUT, made["model"].reference, who="me", why="better")
    assert collect(store, plan, hold(), "me", NOW + DAY) is None
    check_whole(store)


def test_what_was_collected_cannot_go_live_until_it_is_made_again(store: Store):
    made = build(store)
    aliases = aliases_of(store)
    collect(store, planned(store), hold(), "me", NOW + DAY)
    with pytest.raises(Refused, match="its files are gone"):
        aliases.promote(ABOUT, made["other"].reference, who="me", why="better")
    again = commit_one(store, made["other"].manifest.recipe())
    aliases.promote(ABOUT, again.reference, who="me", why="it is back")


def test_what_has_begun_cannot_be_withdrawn(store: Store):
    build(store)
    plan = planned(store)
    collect(store, plan, hold(), "me", NOW + DAY)
    with pytest.raises(Refused, match="deleting has begun"):
        cancel(store, plan.name, "me", NOW)
    with pytest.raises(NotFound):
        cancel(store, "nothing", "me", NOW)


def test_a_plan_is_made_once(store: Store):
    build(store)
    planned(store)
    again = find_garbage(store, hold(), NOW + 1)
    assert (again.artifacts, again.orphans) == ([], [])


def test_what_was_collected_is_made_again_at_the_same_key(store: Store):
    made = build(store)
    collect(store, planned(store), hold(), "me", NOW + DAY)
    recipe: Recipe = made["model"].manifest.recipe()
    attempt = an_attempt(store, recipe, number=2)
    with tempfile.TemporaryDirectory() as folder:
        again = commit(store, attempt, an_output(Path(folder)), a_producer(attempt))
    assert again.manifest.key == made["model"].manifest.key
    assert read_manifest(store, again.path) == again.manifest


CASES = [*(p for p in POINTS if p.startswith("collect.")), "collect.between_files:2"]


@pytest.mark.parametrize("case", CASES)
def test_killed_anywhere_it_is_completed_by_the_next_call(case: str, tmp_path: Path):
    store = open_store(str(tmp_path / "store"))
    made = build(store)
    log = tmp_path / "crashes"
    env = {"PENSTOCK_CRASH_AT": case, "PENSTOCK_CRASH_LOG": str(log)}
    child = processes().Process(target=run, args=(env, tmp_path, made["model"].path))
    child.start()
    child.join(PATIENCE)
    assert child.exitcode == -signal.SIGKILL
    assert log.read_text().split() == [case.partition(":")[0]]
    check_whole(store)
    fetch(store, made["model"].reference, tmp_path / "cache")
    run({}, tmp_path, made["model"].path)
    check_whole(store)
    assert pending(store) == []
    assert names(store, "manifests/") == {made["features"].path, made["model"].path}
    standing = [read_manifest(store, path) for path in store.list("manifests/")]
    files = {manifest.data + file.path for manifest in standing for file in manifest.files}
    assert names(store, "data/") == files
    assert msgspec.json.decode(store.get(made["attempts"][0].path))
