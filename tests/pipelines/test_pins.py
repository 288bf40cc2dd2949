from __future__ import annotations

import datetime as dt

import pytest

from pipelines.errors import RunFailed
from pipelines.index import Index
from pipelines.pins import Pin, Pins
from pipelines.run import root_task
from registry.artifacts.manifest import Reference
from registry.artifacts.records import encode_record
from registry.errors import BadData, NotFound
from tests.pipelines.small import DAY, NAME, by_algorithm, evaluated, small_work
from tests.races import race_threads

NEXT = DAY + dt.timedelta(days=1)
CHAMPION = (NAME, "champion")


def a_pins(world) -> Pins:
    return Pins(world.store, Index(world.store))


def champion(world) -> Reference:
    live: Reference = world.aliases.live(*CHAMPION)
    return live


def champions_evaluated(world, date) -> set[str]:
    """The keys of the models that the evaluations of a date are about."""
    found = [m for m in world.manifests(f"evaluation/{NAME}/") if m.date == date.isoformat()]
    return {m.inputs["model"] for m in found}


def test_a_pin_is_set_once(world):
    world.run()
    model = world.reference(world.one("model", algorithm="catboost"))
    pins = a_pins(world)
    assert pins.find(NAME, "2020-02-01", "champion") is None
    first = pins.set(NAME, "2020-02-01", "champion", None, "run-1")
    assert first.reference is None
    assert pins.set(NAME, "2020-02-01", "champion", model, "run-2") == first
    assert a_pins(world).set(NAME, "2020-02-01", "champion", model, "run-3") == first


def test_a_pin_set_while_another_thread_reads_the_pins_of_its_date_is_not_lost(world):
    pins = a_pins(world)
    listing = world.store.list

    def list_slowly(prefix):
        found = list(listing(prefix))
        world.store.list = listing
        pins.set(NAME, "2020-02-01", "scorer", None, "another thread")
        return found

    world.store.list = list_slowly
    assert pins.find(NAME, "2020-02-01", "champion") is None
    scorer = pins.find(NAME, "2020-02-01", "scorer")
    assert scorer is not None
    assert scorer.run == "another thread"


def test_racing_runs_agree_on_a_pin(world):
    world.run()
    models = [world.reference(m) for m in world.manifests("model/")]
    everyone = [a_pins(world) for _ in range(8)]
    for number in range(10):
        day = f"2020-03-{number + 1:02}"
        for pins in everyone:
            assert pins.find(NAME, day, "scorer") is None

        def choose(who, day=day):
            return everyone[who].set(NAME, day, "scorer", models[who % 2], f"run-{who}")

        assert len(set(race_threads(8, choose))) == 1
        assert len(list(world.store.list(f"pins/{NAME}/{day}/"))) == 1


def test_a_later_run_of_a_date_sees_the_same_champion(world, usecase):
    world.run()
    before = champion(world)
    world.run(NEXT)
    assert before.key in champions_evaluated(world, NEXT)
    other = world.reference(world.one("model", algorithm="catboost"))
    world.aliases.promote(CHAMPION, other, who="tests", why="by hand")
    # Evaluated anew, the comparison is with the champion of then.
    usecase(versions={"ingest": 1, "features": 1, "train": 1, "evaluate": 2, "predict": 1})
    again = world.committed(NEXT)
    assert "evaluate small 2020-01-11 champion" in again
    assert other.key not in champions_evaluated(world, NEXT)


def test_a_later_run_of_a_date_sees_the_same_scorer(world, usecase):
    world.run()
    scored_by = world.one("predictions").inputs["model"]
    other = world.reference(world.one("model", algorithm="catboost"))
    world.aliases.promote(CHAMPION, other, who="tests", why="by hand")
    assert world.run().run is None
    usecase(versions={"ingest": 1, "features": 1, "train": 1, "evaluate": 1, "predict": 2})
    assert world.committed() == ["predict small 2020-01-10"]
    assert {m.inputs["model"] for m in world.manifests("predictions/")} == {scored_by}


def test_a_scheduled_run_never_undoes_a_rollback(world):
    world.run()
    first = champion(world)
    world.run(NEXT)
    assert champion(world) != first
    world.aliases.rollback(CHAMPION, who="tests", why="it looks odd")
    assert world.run(NEXT).run is None
    assert world.run().run is None
    assert champion(world) == first
    assert [d.action for d in world.aliases.log.entries(*CHAMPION)][-1] == "rollback"


def test_the_next_date_is_compared_with_what_was_rolled_back_to(world):
    world.run()
    first = champion(world)
    world.run(NEXT)
    world.aliases.rollback(CHAMPION, who="tests", why="it looks odd")
    later = NEXT + dt.timedelta(days=1)
    world.run(later)
    assert first.key in champions_evaluated(world, later)


def test_a_withdrawn_scorer_gives_way(world):
    """The day was scored by a model that a person had promoted, and then withdrew."""
    world.run()
    world.run(NEXT)
    other = world.one("model", DAY, algorithm="catboost")
    world.aliases.promote(CHAMPION, world.reference(other), who="tests", why="by hand")
    changed = {"lightgbm": {"leaves": 2}}
    world.work = _refusing(world)
    world.run(NEXT, changed)
    assert other.key in {m.inputs["model"] for m in world.manifests("predictions/")}
    world.retract(other)
    world.aliases.rollback(CHAMPION, who="tests", why="it was withdrawn")
    assert [s.step for s in world.plan(NEXT, changed) if s.action != "reuse"] == [
        "predict small 2020-01-11"
    ]
    # What is live again has scored the day before.
    assert world.committed(NEXT, changed) == []
    assert world.run(NEXT, changed).run is None
    pins = [p for p in world.store.list(f"pins/{NAME}/{NEXT}/") if "scorer" in p]
    assert sum(path.endswith("-0002.json") for path in pins) == 1


def _refusing(world):
    """Work that finds every new model too bad, and those there are as good as before."""
    known = {model.key for model in world.manifests("model/")}

    def score(model):
        return by_algorithm(model) if model.key in known else evaluated(0.59, auc=0.5)

    return small_work(score)


def test_what_is_live_scores_even_if_it_was_withdrawn_before(world):
    """Serving would answer with it as well: a retraction alone moves no alias."""
    world.run()
    live = world.one("model", DAY, algorithm="lightgbm")
    world.retract(live)
    world.work = _refusing(world)
    made = world.committed(NEXT)
    assert "predict small 2020-01-11" in made
    predictions = [m for m in world.manifests("predictions/") if m.date == NEXT.isoformat()]
    assert [m.inputs["model"] for m in predictions] == [live.key]
    assert world.run(NEXT).run is None


def test_a_withdrawn_champion_is_no_comparison(world):
    world.run()
    world.retract(world.one("model", DAY, algorithm="lightgbm"))
    made = world.committed(NEXT)
    assert "evaluate small 2020-01-11 champion" not in made


def test_a_pinned_champion_that_was_withdrawn_gives_way(world):
    world.run()
    world.run(NEXT)
    first = world.one("model", DAY, algorithm="lightgbm")
    assert first.key in champions_evaluated(world, NEXT)
    world.retract(first)
    assert world.run(NEXT).run is None  # its verdict stands
    # A new candidate of that date is compared with what is live now.
    made = world.committed(NEXT, {"lightgbm": {"leaves": 2}})
    assert "evaluate small 2020-01-11 champion" in made or "predict small 2020-01-11" in made
    pins = [p for p in world.store.list(f"pins/{NAME}/{NEXT}/") if "champion" in p]
    assert len(pins) == 2


def test_without_anything_live_nothing_is_scored(world):
    world.work = _refusing(world)
    with pytest.raises(RunFailed) as failure:
        world.run()
    assert isinstance(failure.value.errors[0], NotFound)
    assert failure.value.exit_code == 66
    assert "penstock promote" in str(failure.value)
    assert len(world.manifests("model/")) == 2
    model = world.reference(world.one("model", algorithm="catboost"))
    world.aliases.promote(CHAMPION, model, who="tests", why="good enough")
    assert world.committed() == ["predict small 2020-01-10"]


def test_a_pin_that_cannot_be_read_is_named(world):
    world.store.create(f"pins/{NAME}/{DAY}/champion-0001.json", b"{}")
    with pytest.raises(BadData) as failure:
        world.run()
    assert f"pins/{NAME}/{DAY}/champion-0001.json" in str(failure.value)


def test_other_files_among_pins_do_not_count(world):
    pin = Pin(NAME, DAY.isoformat(), "champion", None, "run-1", "2020-01-10", "id")
    world.store.create(f"pins/{NAME}/{DAY}/champion-0001.json.copy", b"moved aside")
    world.store.create(f"pins/{NAME}/{DAY}/champion-0002.json", encode_record(pin))
    pins = a_pins(world)
    assert pins.find(NAME, DAY.isoformat(), "champion") == pin
    assert pins.find(NAME, DAY.isoformat(), "champ") is None
    world.run()


def test_a_plan_sets_no_pin(world):
    world.plan()
    assert list(world.store.list("")) == []
    assert root_task(NAME, DAY).date == DAY
