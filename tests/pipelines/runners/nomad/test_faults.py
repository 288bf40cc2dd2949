"""What may go wrong between a pipeline and Nomad, played back: the run goes on all the same."""

from __future__ import annotations

import threading
import time

import pytest

from pipelines.runners.nomad.child import NOT_PLACED
from pipelines.runners.nomad.errors import NomadAway, NomadRefused, NotRegistered
from pipelines.runners.nomad.runner import NomadRunner
from pipelines.runners.nomad.transport import Access
from pipelines.runners.states import Ended, Kind, Queued, Running, Vanished
from registry.artifacts.attempt import Attempt
from registry.errors import PenstockError
from tests.contracts.rigs import REFERENCE, end_of, eventually, new_attempt
from tests.pipelines.runners.nomad.recorded import (
    HANG_UP,
    RecordedNomad,
    allocation,
    ended,
    event,
)

DISPATCH = "POST /v1/job/[^/]+/dispatch"
LIST = "GET /v1/jobs"


def an_attempt(**changes: object) -> Attempt:
    return new_attempt("nomad", "", **changes)


def started(runner: NomadRunner, **changes: object) -> Attempt:
    attempt = an_attempt(**changes)
    runner.start(attempt, REFERENCE)
    return attempt


def is_running(runner: NomadRunner, attempt: Attempt) -> bool:
    return runner.state(attempt) == Running()


def test_the_token_is_in_the_query_and_the_body_is_what_nomad_reads(nomad, runner):
    """python-nomad would put it into the body, where Nomad does not look."""
    attempt = started(runner, step="train flights")
    (request,) = nomad.asked(DISPATCH)
    token = f"{attempt.key}:1:{attempt.write_id[:8]}"
    assert request.query["idempotency_token"] == token
    assert set(request.body) == {"Payload", "Meta", "IdPrefixTemplate"}
    assert request.body["IdPrefixTemplate"] == f"{attempt.key[:12]}-1"
    meta = {"artifact_key": attempt.key, "attempt": "1", "run_id": "run-1", "step": "train flights"}
    assert request.body["Meta"] == meta


def test_a_dispatch_that_names_a_child_that_is_not_there_is_repeated(nomad, runner):
    """hashicorp/nomad#27353: the loser of two dispatches at once gets an id that nobody has."""
    phantom = {"DispatchedJobID": "penstock-train-s/dispatch-phantom", "EvalID": "e"}
    nomad.faults += [(DISPATCH, 200, phantom)] * 2
    attempt = started(runner)
    assert nomad.count(DISPATCH) == 3
    assert len({r.query["idempotency_token"] for r in nomad.asked(DISPATCH)}) == 1
    nomad.end(allocation("complete", ended(0)))
    assert end_of(runner, attempt).kind is None


def test_children_that_are_never_there_are_no_start(nomad, runner, monkeypatch):
    monkeypatch.setattr("pipelines.runners.nomad.runner.DISPATCHES", 2)
    phantom = {"DispatchedJobID": "penstock-train-s/dispatch-phantom", "EvalID": "e"}
    nomad.faults += [(DISPATCH, 200, phantom)] * 2
    with pytest.raises(NomadAway, match="has no such job"):
        started(runner)


def test_what_another_pipeline_dispatched_is_adopted(nomad, runner):
    attempt = started(runner)
    with NomadRunner(Access.of({"NOMAD_ADDR": nomad.address}), pace=0.05) as other:
        assert isinstance(other.state(attempt), Running)
        other.start(attempt, REFERENCE)
        nomad.end(allocation("complete", ended(0)))
        assert end_of(other, attempt) == end_of(runner, attempt) == Ended(0, None, None)
    assert len(nomad.jobs) == 1


def test_a_child_of_another_store_with_the_same_key_is_not_adopted(nomad, runner):
    attempt = started(runner)
    other = an_attempt(key=attempt.key, run="run-2")
    runner.start(other, REFERENCE)
    assert len(nomad.jobs) == 2


@pytest.mark.parametrize("status", [HANG_UP, 500, 502, 429])
def test_a_lost_connection_fails_nobody_and_is_told(nomad, runner, status, monkeypatch):
    monkeypatch.setattr("pipelines.runners.nomad.parent.FIRST_DELAY", 0.1)
    attempt = started(runner)
    eventually(lambda: is_running(runner, attempt), "it runs")
    nomad.faults += [(LIST, status, "No cluster leader")] * 3
    nomad.change()
    eventually(lambda: "does not answer" in runner.state(attempt).reason, "it is told")
    eventually(lambda: is_running(runner, attempt), "it is seen again")
    nomad.end(allocation("complete", ended(0)))
    assert end_of(runner, attempt).kind is None


def test_a_reply_that_was_cut_off_is_no_answer(nomad, runner):
    attempt = started(runner)
    nomad.faults += [(LIST, 200, b'[{"ID": "pen')]
    nomad.end(allocation("complete", ended(0)))
    assert end_of(runner, attempt).kind is None


def test_an_index_that_goes_back_is_begun_anew(nomad, runner):
    """A server restored from a snapshot: waiting for the old index would be waiting for ever."""
    attempt = started(runner)
    nomad.change(index=1000)
    eventually(lambda: any(r.query.get("index") == "1000" for r in nomad.asked(LIST)), "waits")
    nomad.change(index=3)
    eventually(lambda: any(r.query.get("index") == "3" for r in nomad.asked(LIST)), "waits again")
    place = [r.query.get("index") for r in nomad.asked(LIST)].index("3")
    assert "index" not in nomad.asked(LIST)[place - 1].query
    nomad.end(allocation("complete", ended(0)))
    assert end_of(runner, attempt).kind is None


def test_a_child_that_is_gone_has_vanished(nomad, runner):
    attempt = started(runner)
    nomad.change(nomad.jobs.clear)
    assert end_of(runner, attempt).kind is Kind.LOST
    assert isinstance(runner.state(attempt), Vanished)


def test_dead_is_not_over_while_an_allocation_runs(nomad, runner):
    """hashicorp/nomad#27852: a job is shown dead while it waits to be placed again."""
    attempt = started(runner)
    job = nomad.child()
    job.allocations = [allocation("failed", ended(1), NextAllocation="b" * 36)]
    nomad.change(lambda: setattr(job, "status", "dead"))
    eventually(lambda: nomad.count("GET /v1/job/.*/allocations") > 1, "it is looked at again")
    assert runner.wait(attempt, 0.2) is None
    again = allocation("complete", ended(0), CreateIndex=9)
    nomad.change(lambda: job.allocations.append(again))
    assert end_of(runner, attempt) == Ended(0, None, None)


def test_a_preempted_child_is_an_end_once_nomad_has_given_it_up(nomad, runner):
    attempt = started(runner)
    evicted = allocation("failed", event("Killing"), DesiredStatus="evict")
    nomad.end(evicted)
    assert end_of(runner, attempt).kind is Kind.PREEMPTED


def test_an_allocation_that_was_lost(nomad, runner):
    attempt = started(runner)
    nomad.end(allocation("lost"))
    assert end_of(runner, attempt).kind is Kind.LOST


def test_a_child_that_ended_before_it_was_stopped_has_ended_by_itself(nomad, runner):
    attempt = started(runner)
    nomad.child().stop = True
    nomad.end(allocation("complete", ended(0), DesiredStatus="stop"))
    assert end_of(runner, attempt) == Ended(0, None, None)


def test_a_disconnected_node_is_told(nomad, runner):
    attempt = started(runner)
    nomad.change(lambda: setattr(nomad.child(), "counts", {"Unknown": 1}))
    eventually(lambda: "node" in runner.state(attempt).reason, "the reason")


def test_a_child_without_evaluation_gets_one(nomad, runner, monkeypatch):
    """hashicorp/nomad#26710: stored by a leader that crashed before it made the evaluation."""
    monkeypatch.setattr("pipelines.runners.nomad.queue.FORGOTTEN", 0.0)
    monkeypatch.setattr("pipelines.runners.nomad.parent.QUEUED", 0.05)
    nomad.fresh = {"status": "pending", "counts": {}, "evaluations": []}
    attempt = started(runner)
    assert runner.state(attempt) == Queued(NOT_PLACED)
    eventually(lambda: nomad.count("POST /v1/job/.*/evaluate"), "it is evaluated")


def test_lists_are_asked_for_at_most_once_a_pace(nomad):
    with NomadRunner(Access.of({"NOMAD_ADDR": nomad.address}), pace=0.25) as runner:
        begun = time.monotonic()
        attempt = started(runner)
        for _ in range(40):
            nomad.change()
            threading.Event().wait(0.02)
        nomad.end(allocation("complete", ended(0)))
        end_of(runner, attempt)
        lists = [r for r in nomad.asked(LIST) if r.query["prefix"].endswith("/dispatch-")]
        assert len(lists) <= (time.monotonic() - begun) / 0.25 + 2


def test_only_children_that_ended_cost_a_request(nomad, runner):
    attempts = [started(runner) for _ in range(20)]
    first = next(iter(nomad.jobs.values()))
    first.allocations.append(allocation("complete", ended(0)))
    nomad.change(lambda: setattr(first, "status", "dead"))
    end_of(runner, attempts[0])
    assert {r.path for r in nomad.asked("GET /v1/job/.*")} == {f"/v1/job/{first.name}/allocations"}


def test_a_missing_capability_is_named(nomad, runner):
    nomad.faults += [(DISPATCH, 403, "Permission denied")]
    with pytest.raises(NomadRefused, match="dispatch-job") as refused:
        started(runner)
    assert refused.value.exit_code == 78
    assert "NOMAD_TOKEN is not set" in str(refused.value)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (500, "parameterized job not found"),
        (500, "Specified job is not a parameterized job"),
        (404, "job not found"),
    ],
)
def test_a_parent_that_is_not_registered(nomad, runner, status, text):
    nomad.faults += [(DISPATCH, status, text)]
    with pytest.raises(NotRegistered, match="penstock register"):
        started(runner)


def test_a_contract_that_does_not_fit_is_not_tried_for_ever(nomad, runner):
    text = "Dispatch did not provide required meta keys: [size]"
    nomad.faults += [(DISPATCH, 500, text)]
    with pytest.raises(PenstockError, match="required meta keys") as refused:
        started(runner)
    assert not isinstance(refused.value, NomadAway)


def test_a_log_that_is_gone_is_empty_and_a_refusal_is_said(nomad, runner):
    attempt = started(runner)
    nomad.logs = {"stdout": b"one", "stderr": b"two"}
    nomad.end(allocation("failed", ended(65)))
    end_of(runner, attempt)
    assert runner.log_tail(attempt) == b"one\ntwo"
    logs = "GET /v1/client/fs/logs/.*"
    nomad.faults += [(logs, 404, "Unknown allocation")]
    assert runner.log_tail(attempt) == b""
    nomad.faults += [(logs, 500, "No path to node")]
    assert runner.log_tail(attempt) == b""
    nomad.faults += [(logs, 403, "Permission denied")]
    assert b"read-logs" in runner.log_tail(attempt)


def blocked(nomad: RecordedNomad, metric: dict[str, object]) -> None:
    job = nomad.child()
    evaluation = {
        "ID": "b",
        "JobID": job.name,
        "Status": "blocked",
        "FailedTGAllocs": {"job": metric},
    }

    def change() -> None:
        job.counts, job.status = {"Queued": 1}, "pending"
        nomad.blocked = [evaluation]

    nomad.change(change)


def test_what_every_node_rules_out_ends_with_the_reason(nomad, runner, monkeypatch):
    monkeypatch.setattr("pipelines.runners.nomad.waiting.RULED_OUT", 0.0)
    monkeypatch.setattr("pipelines.runners.nomad.parent.QUEUED", 0.05)
    attempt = started(runner)
    filtered = {
        "NodesEvaluated": 2,
        "NodesFiltered": 2,
        "ConstraintFiltered": {"missing devices": 2},
    }
    blocked(nomad, filtered)
    end = end_of(runner, attempt)
    assert end.kind is Kind.NO_FIT
    assert "missing devices rules out 2 of 2 nodes" in end.reason
    eventually(lambda: nomad.child().stop, "it waits no longer in Nomad")


def test_without_the_right_to_read_nodes_it_waits(nomad, runner, monkeypatch):
    monkeypatch.setattr("pipelines.runners.nomad.parent.QUEUED", 0.05)
    attempt = started(runner)
    nomad.faults += [("GET /v1/nodes", 403, "Permission denied")]
    full = {"NodesEvaluated": 1, "NodesExhausted": 1, "DimensionExhausted": {"memory": 1}}
    nomad.faults += [("GET /v1/job/penstock-train-s", 200, {"ID": "penstock-train-s"})]
    blocked(nomad, full)
    eventually(lambda: "memory is exhausted" in runner.state(attempt).reason, "the reason")
    assert runner.wait(attempt, 0.2) is None


def test_nothing_queued_costs_no_look_at_evaluations(nomad, runner):
    attempt = started(runner)
    nomad.end(allocation("complete", ended(0)))
    end_of(runner, attempt)
    assert nomad.count("GET /v1/evaluations") == 0


def test_many_wait_in_one_thread(nomad, runner):
    attempts = [started(runner) for _ in range(50)]
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("penstock-train-s/dispatch-") == 1
    assert [runner.state(attempt) for attempt in attempts] == [Running()] * 50


def test_what_may_not_be_stopped_at_its_deadline_ends_all_the_same(nomad, runner):
    """Without submit-job; and the other children of the parent are followed on."""
    other = started(runner)
    nomad.faults += [("DELETE /v1/job/.*", 403, "Permission denied")]
    attempt = started(runner, deadline=time.time() + 0.3)
    end = end_of(runner, attempt)
    assert end.kind is Kind.TIMEOUT
    assert "submit-job" in end.reason
    assert runner.state(other) == Running()


def test_a_child_is_looked_after_from_its_dispatch_on(nomad, runner, monkeypatch):
    """A query that blocks for a minute and began before it was followed would not."""
    started(runner)
    dispatch = runner._client.dispatch

    def slowly(*words: object) -> str:
        name: str = dispatch(*words)
        asked = nomad.count(LIST)
        eventually(lambda: nomad.count(LIST) > asked + 2, "queries that know nothing of it")
        return name

    monkeypatch.setattr(runner._client, "dispatch", slowly)
    attempt = started(runner, deadline=time.time() + 0.1)
    assert end_of(runner, attempt).kind is Kind.TIMEOUT


def test_a_child_that_is_gone_needs_no_stop(nomad, runner):
    attempt = started(runner)
    nomad.jobs.clear()
    runner.stop(attempt)
    nomad.change()
    assert end_of(runner, attempt).kind is Kind.LOST


def test_a_parent_that_is_gone_leaves_its_children_waiting(nomad, runner, monkeypatch):
    """hashicorp/nomad#2263: purging a parent leaves its children."""
    monkeypatch.setattr("pipelines.runners.nomad.parent.QUEUED", 0.05)
    attempt = started(runner)
    blocked(nomad, {"NodesEvaluated": 1, "NodesExhausted": 1, "DimensionExhausted": {"cpu": 1}})
    eventually(lambda: "cpu is exhausted" in runner.state(attempt).reason, "the reason")
    assert runner.wait(attempt, 0.2) is None
