"""Damage and obstacles: a clear error with its exit code, nothing committed, and a way out."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from pipelines.errors import JobFailed, RunFailed
from pipelines.run import root_task, run
from pipelines.runners.machine import Script
from pipelines.session import Session
from registry.aliases import Aliases
from registry.aliases.decision import DecisionLog
from registry.artifacts.layout import manifest_path
from registry.artifacts.retract import retract
from registry.artifacts.store import open_environment
from registry.errors import BadData, ConfigError, StoreError, StoreUnwritable, UsageError
from registry.settings import Settings
from tests.faults import FaultyStore, Schedule
from tests.pipelines.small import DAY, NAME, World, a_usecase, small_work, told

NEXT = DAY + dt.timedelta(days=1)
CHAMPION = (NAME, "champion")
FAR = dt.date(2020, 1, 20)


def damage(world, key, data):
    """Change an object of the store as only a person or a broken disk can."""
    full = world.store._prefix + key
    assert full in world.store._objects
    world.store._objects[full] = data


def remove(world, key):
    del world.store._objects[world.store._prefix + key]


def path_of(world, manifest):
    return world.reference(manifest).path


def failing(world, *words, **more):
    with pytest.raises(RunFailed) as failure:
        world.run(*words, **more)
    return failure.value


def test_an_unknown_use_case_is_named(tmp_path):
    world = World(tmp_path)
    with pytest.raises(UsageError) as failure:
        run(world.session(), [root_task("nothing", DAY)])
    assert "there is no use case 'nothing'" in str(failure.value)
    assert "flights" in failure.value.why
    assert list(world.store.list("")) == []


@pytest.mark.parametrize("name", ["", "../flights", "Flights", "flights/..", "a b"])
def test_a_malformed_use_case_is_refused(tmp_path, name):
    with pytest.raises(UsageError):
        run(World(tmp_path).session(), [root_task(name, DAY)])


@pytest.mark.parametrize("text", ['{"key": 1', "{}", "", "null", "\x00\xff"])
def test_a_manifest_that_cannot_be_read_stops_what_needs_it(world, text):
    world.run()
    path = path_of(world, world.one("features", DAY))
    damage(world, path, text.encode("latin-1"))
    before = set(world.store.list("manifests/"))
    error = failing(world, NEXT)
    assert error.exit_code == 65
    assert path in str(error)
    # What does not need it was made all the same.
    made = set(world.store.list("manifests/")) - before
    assert any("date=2020-01-12" in name for name in made)
    assert not any(name.startswith("manifests/model") for name in made)


def test_a_manifest_edited_by_hand_is_found(world):
    world.run()
    model = world.one("model", algorithm="lightgbm")
    path = path_of(world, model)
    edited = json.loads(world.store.get(path)) | {"metrics": {"auc": 0.99}}
    damage(world, path, json.dumps(edited).encode())
    world.retract(world.one("evaluation"))
    error = failing(world)
    assert error.exit_code == 65
    assert "was changed after it was committed" in str(error)
    assert "retract" in str(error)


def test_retracting_what_is_damaged_mends_it(world, usecase):
    """The way out that the message names, though nothing can be read from the manifest."""
    world.run()
    source = world.one("source", DAY)
    damage(world, path_of(world, source), b"{")
    usecase(versions={**a_usecase().versions, "features": 2})
    assert failing(world, NEXT).exit_code == 65
    retract(world.store, source.key[:16], who="tests", why="damaged")
    world.run(NEXT)
    world.run(DAY)
    assert world.run(NEXT).run is None
    assert world.run(DAY).run is None


def test_moving_a_damaged_manifest_aside_mends_it(world):
    world.run()
    source = world.one("source", DAY)
    path = path_of(world, source)
    remove(world, path)
    world.store.create(f"{path}.aside", b"{")
    assert "ingest small 2020-01-10" not in world.committed()  # nothing that is needed lacks it
    world.run(NEXT)


def test_a_champion_whose_sources_are_damaged_is_still_the_champion(world):
    """Its own bytes are whole; only a retraction takes it back."""
    world.run()
    source = world.one("source", DAY - dt.timedelta(days=2))
    damage(world, path_of(world, source), b"{")
    world.retract(world.one("predictions"))  # so that retractions are looked at
    assert "evaluate small 2020-01-20 champion" in world.committed(FAR)


def test_a_champion_made_from_what_was_retracted_is_none_though_its_manifest_is_gone(world):
    world.run()
    source = world.one("source", DAY - dt.timedelta(days=2))
    path = path_of(world, source)
    world.retract(source)
    damage(world, path, b"{")
    assert "evaluate small 2020-01-20 champion" not in world.committed(FAR)


def test_a_plan_explains_past_a_damaged_manifest(world):
    world.run()
    damage(world, path_of(world, world.one("model", algorithm="lightgbm")), b"{")
    planned = {step.step: step for step in world.plan(changes={"lightgbm": {"leaves": 2}})}
    assert planned["train small 2020-01-10 lightgbm leaves=2"].action == "run"


def test_a_decision_that_is_not_json_is_named_and_nothing_is_published(world):
    world.run()
    path = f"decisions/{NAME}/champion/00000001.json"
    whole = world.store.get(path)
    damage(world, path, b"not json")
    for act in (world.plan, world.run):
        with pytest.raises(BadData) as failure:
            act(DAY)
        assert path in str(failure.value)
        assert "move it" in failure.value.todo
    with pytest.raises(RunFailed) as failed:
        world.run(NEXT)
    assert failed.value.exit_code == 65
    assert list(world.store.list("decisions/")) == [path]
    damage(world, path, whole)
    world.run(NEXT)
    assert len(world.aliases.log.entries(*CHAMPION)) == 2


def test_a_damaged_attempt_record_is_named_and_can_be_moved_aside(world):
    world.run()
    model = world.one("model", algorithm="catboost")
    world.retract(model)
    recipe = model.recipe().at_epoch(1)
    path = f"attempts/{recipe.key}/0001.json"
    world.store.create(path, b'{"key": "')
    error = failing(world)
    assert error.exit_code == 65
    assert path in str(error)
    assert "move it aside" in str(error)
    assert not any(manifest_path(recipe) == p for p in world.store.list("manifests/"))
    remove(world, path)
    world.store.create(f"{path}.aside", b'{"key": "')
    world.run()
    assert world.one("model", algorithm="catboost").epoch == 1


def test_a_retraction_that_is_not_one_does_not_count(world):
    world.run()
    world.store.create("retractions/notes.txt", b"why we did it")
    assert world.run().run is None


def test_a_failed_step_leaves_the_rest_and_says_how_much(world):
    def script(attempt):
        bad = attempt.spec.kind == "ingest" and attempt.spec.recipe.date == "2020-01-07"
        return Script(exit_code=65, log=b"bad-data: it is empty\n") if bad else Script()

    session = world.session(script)
    with pytest.raises(RunFailed) as failure:
        run(session, [root_task(NAME, DAY)])
    error = failure.value
    assert error.exit_code == 65
    # The features of a day, two models, three evaluations, the verdict and the predictions.
    assert error.what == "1 step failed, 8 could not start"
    assert "ingest small 2020-01-07 failed: bad-data (bad-data: it is empty)" in str(error)
    assert ".log in the store" in str(error)
    assert isinstance(error.errors[0], JobFailed)
    assert told(session).steps("failed") == ["ingest small 2020-01-07"]
    assert {m.family for m in world.manifests()} == {"source", "features"}
    end = json.loads(world.store.get(f"runs/{session.run}.end.json"))
    assert end["status"] == "failed"
    assert len(end["made"]) == 4 + 3
    assert world.committed()[0].startswith("evaluate")
    assert world.run().run is None


def test_several_failures_have_one_code_only_if_they_agree(world):
    def script(attempt):
        codes = {"2020-01-07": 65, "2020-01-08": 66}
        return Script(exit_code=codes.get(attempt.spec.recipe.date or "", 0))

    error = failing(world, script=script)
    assert error.exit_code == 70
    assert error.what.startswith("2 steps failed")
    assert "and 1 more" in error.why


def test_a_job_past_its_deadline_commits_nothing(world):
    world.env["PENSTOCK_JOB_TIMEOUT"] = "0"
    error = failing(world)
    assert error.exit_code == 75
    assert list(world.store.list("manifests/")) == []
    assert list(world.store.list("data/")) == []
    world.env["PENSTOCK_JOB_TIMEOUT"] = "60"
    assert len(world.run().made) == 14


@pytest.mark.parametrize("family", ["runs/", "attempts/", "pins/", "decisions/", "manifests/"])
def test_a_store_that_is_full_for_one_kind_of_object(world, monkeypatch, family):
    """Wherever it strikes: the error is that of the store, and the next run completes."""
    create = type(world.store).create

    def refuse(self, key, data):
        if key.startswith(family):
            raise StoreUnwritable(f"{key} could not be written", "No space left", "Make room.")
        create(self, key, data)

    with monkeypatch.context() as patch:
        patch.setattr(type(world.store), "create", refuse)
        with pytest.raises((RunFailed, StoreUnwritable)) as failure:
            world.run()
    assert failure.value.exit_code == 73
    assert "No space left" in str(failure.value)
    assert list(world.store.list(family)) == []
    world.run()
    assert world.run().run is None
    keys = [manifest.key for manifest in world.manifests()]
    assert len(keys) == len(set(keys)) == 14


@pytest.mark.parametrize("name", ["runs", "manifests", "attempts"])
def test_a_store_that_is_a_file_where_a_folder_should_be(usecase, tmp_path, name):
    env = {"PENSTOCK_STORE": str(tmp_path / "store"), "PENSTOCK_VAR": str(tmp_path / "var")}
    settings = Settings.load(env)
    root = tmp_path / "store" / settings.environment
    root.mkdir(parents=True)
    (root / name).write_text("in the way")
    world = World(tmp_path / "var")
    world.store = open_environment(settings)
    world.env.update(env)
    with pytest.raises((StoreError, RunFailed)) as failure:
        world.run()
    assert name in str(failure.value)
    (root / name).unlink()
    world.run()


def test_an_unknown_store_is_a_setting_to_mend(usecase, tmp_path):
    settings = Settings.load({"PENSTOCK_STORE": "ftp://there", "PENSTOCK_VAR": str(tmp_path)})
    with pytest.raises(ConfigError, match="PENSTOCK_STORE"):
        run(Session(settings), [root_task(NAME, DAY)])


@pytest.mark.parametrize("fault", ["lost", "exists"])
def test_every_reply_of_the_store_may_be_lost(world, monkeypatch, fault):
    _with_faults(world, monkeypatch, lambda: Schedule(*[fault] * 1000))


@pytest.mark.parametrize("seed", range(4))
def test_writes_may_fail_in_any_way(world, monkeypatch, seed):
    schedule = Schedule(rate=0.4, seed=seed)
    _with_faults(world, monkeypatch, lambda: schedule)
    assert set(schedule.done) >= {"lost", "exists", "before", "conflict"}


def _with_faults(world, monkeypatch, schedule):
    """No false conflict, no duplicate, nothing deleted: as if all had gone well."""
    whole = world.store
    monkeypatch.setattr("registry.artifacts.store.once._FIRST_DELAY", 0.0)
    monkeypatch.setattr(
        "tests.pipelines.small.open_store", lambda url: FaultyStore(whole, schedule())
    )
    world.store = FaultyStore(whole, schedule())
    world.aliases = Aliases(DecisionLog(world.store), world.aliases.heads)
    world.work = small_work()
    assert len(world.run().made) == 14
    assert set(world.attempts().values()) == {1}
    assert len({manifest.key for manifest in world.manifests()}) == 14
    assert len(world.aliases.log.entries(*CHAMPION)) == 1
    data = list(world.store.list("data/"))
    assert len(data) == 2 * 14
    assert world.run().run is None
