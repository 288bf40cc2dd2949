from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import RunFailed
from pipelines.gate import refusals
from pipelines.run import root_task, run
from pipelines.runners.machine import AT_ONCE, Script
from registry.usecase import Gate
from tests.pipelines.small import (
    DAY,
    NAME,
    Recorder,
    World,
    evaluated,
    small_work,
    told,
)

NEXT = DAY + dt.timedelta(days=1)
CHAMPION = (NAME, "champion")
GATE = Gate(min_auc_gain=0.02, min_log_loss_gain=0.01, max_log_loss_regression=0.02)
NUMBERS = st.floats(-1, 1)


def entries(world):
    return world.aliases.log.entries(*CHAMPION)


def test_the_gate_lets_a_better_candidate_pass():
    assert refusals(GATE, evaluated(0.5), None) == []
    assert refusals(GATE, evaluated(0.5), evaluated(0.55)) == []
    assert refusals(GATE, evaluated(0.5), evaluated(0.49)) == []


@pytest.mark.parametrize(
    ("candidate", "champion", "words"),
    [
        (evaluated(0.5, auc=0.51), None, "AUC gains +0.0100 over the base rate, +0.0200 is"),
        (evaluated(0.595), None, "log loss gains +0.0050 over the base rate, +0.0100 is"),
        (evaluated(0.55), evaluated(0.50), "log loss 0.5500 is 0.0500 worse than the champion's"),
        (evaluated(0.5), {"auc": 0.8}, "the champion's evaluation on the same day lacks log_loss"),
        ({"auc": 0.9, "log_loss": 0.1}, None, "the evaluation lacks base_auc, base_log_loss"),
        ({}, None, "the evaluation lacks auc, log_loss, base_auc, base_log_loss"),
    ],
)
def test_the_gate_says_why_it_refuses(candidate, champion, words):
    assert [reason for reason in refusals(GATE, candidate, champion) if words in reason]


def test_the_gate_gives_every_reason():
    assert len(refusals(GATE, evaluated(0.65, auc=0.4), evaluated(0.5))) == 3


@given(
    candidate=st.fixed_dictionaries(dict.fromkeys(evaluated(0.0), NUMBERS)),
    champion=st.none() | st.fixed_dictionaries(dict.fromkeys(evaluated(0.0), NUMBERS)),
)
def test_the_gate_agrees_with_its_margins(candidate, champion):
    fits = (
        candidate["auc"] - candidate["base_auc"] >= GATE.min_auc_gain
        and candidate["base_log_loss"] - candidate["log_loss"] >= GATE.min_log_loss_gain
        and (
            champion is None
            or candidate["log_loss"] - champion["log_loss"] <= GATE.max_log_loss_regression
        )
    )
    assert (refusals(GATE, candidate, champion) == []) == fits


def test_the_better_of_two_is_published(world):
    session = world.session()
    run(session, [root_task(NAME, DAY)])
    (decision,) = entries(world)
    best = world.one("model", algorithm="lightgbm")
    assert (decision.action, decision.candidate.key) == ("publish", best.key)
    assert decision.who == "tests"
    assert session.run in decision.why
    assert decision.evaluation is not None
    evaluation = next(m for m in world.manifests("evaluation/") if m.inputs["model"] == best.key)
    assert decision.evaluation.key == evaluation.key
    (words,) = [words for words in told(session).told if words[0] == "decided"]
    assert words[2] == f"published {best.key[:16]} as revision 1"


def test_the_worse_order_of_names_changes_nothing(usecase, tmp_path):
    losses = {"lightgbm": 0.56, "catboost": 0.55}
    world = World(tmp_path, lambda model: evaluated(losses[model.parameters["algorithm"]]))
    world.run()
    best = world.one("model", algorithm="catboost")
    assert entries(world)[0].candidate.key == best.key


def test_equal_candidates_are_told_apart_by_name(usecase, tmp_path):
    world = World(tmp_path, lambda _: evaluated(0.5))
    world.run()
    best = world.one("model", algorithm="catboost")
    assert entries(world)[0].candidate.key == best.key


def test_a_candidate_worse_than_the_champion_is_rejected_once(world):
    world.run()
    live = world.aliases.live(*CHAMPION)

    def worse(model):
        return evaluated(0.5 if model.key == live.key else 0.57)

    world.work = small_work(worse)
    session = world.session()
    run(session, [root_task(NAME, NEXT)])
    rejected = entries(world)[-1]
    assert (rejected.action, rejected.live) == ("reject", live)
    assert any("worse than the champion's 0.5000" in reason for reason in rejected.reasons)
    assert any("rejected" in words[2] for words in told(session).told if words[0] == "decided")
    assert world.run(NEXT).run is None
    assert len(entries(world)) == 2
    predictions = world.one("predictions", NEXT)
    assert predictions.inputs["model"] == live.key


def test_a_champion_that_cannot_be_evaluated_leaves_the_verdict_to_a_person(world):
    world.run()
    live = world.aliases.live(*CHAMPION)

    def other_inputs(attempt):
        model = attempt.spec.references.get("model")
        evaluates_it = attempt.kind == "evaluate" and model == live
        return Script(exit_code=65) if evaluates_it else AT_ONCE

    result = world.run(NEXT, script=other_inputs)
    assert result.made
    rejected = entries(world)[-1]
    assert (rejected.action, rejected.live) == ("reject", live)
    assert rejected.reasons == [
        "the champion could not be evaluated on this day, so nothing was compared"
    ]
    assert world.run(NEXT, script=other_inputs).run is None, "decided once, and never stuck"
    assert world.aliases.promote(CHAMPION, rejected.candidate, who="me", why="seen").revision == 3


def test_a_looser_gate_does_not_reopen_a_verdict(world, usecase):
    world.run()
    world.work = small_work(lambda _: evaluated(0.599, auc=0.5))
    world.run(NEXT)
    assert entries(world)[-1].action == "reject"
    usecase(gate=Gate(min_auc_gain=-1, max_log_loss_regression=1))
    assert world.run(NEXT).run is None


def test_a_candidate_without_log_loss_is_the_worst(usecase, tmp_path):
    losses = {"lightgbm": float("inf"), "catboost": 0.55}
    world = World(tmp_path, lambda model: evaluated(losses[model.parameters["algorithm"]]))
    world.run()
    assert entries(world)[0].candidate.key == world.one("model", algorithm="catboost").key


def test_a_day_on_which_nothing_could_be_measured_is_refused(usecase, tmp_path):
    world = World(tmp_path, lambda _: evaluated(float("nan")))
    with pytest.raises(RunFailed, match="nothing is live"):
        world.run()
    assert entries(world)[-1].reasons == ["the evaluation lacks log_loss"]


def test_a_metric_that_is_no_number_is_a_refusal(usecase, tmp_path):
    world = World(tmp_path, lambda _: evaluated(0.5, auc=float("nan")))
    with pytest.raises(RunFailed, match="nothing is live"):
        world.run()
    assert entries(world)[-1].reasons == ["the evaluation lacks auc"]


def test_recorders_are_told_in_order(world):
    session = world.session()
    run(session, [root_task(NAME, DAY)])
    recorder = session.observer
    assert isinstance(recorder, Recorder)
    started, committed = recorder.steps("started"), recorder.steps("committed")
    assert sorted(started) == sorted(committed)
    assert committed[-1] == "predict small 2020-01-10"
    assert recorder.steps("failed") == []
