"""What the service does when a model proves bad, hangs, changes its inputs or does not fit.

The other rows of the table in docs/serving.md are in `test_reload`, `test_service`, `test_source`
and `test_consul`.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry.aliases import open_aliases
from registry.settings import Settings
from serving.loadclient import Load
from tests.serving.conftest import BODIES, Trained
from tests.serving.moody import ENVIRONMENT, moody, stricter
from tests.serving.rig import Publisher, Service, alive, eventually, service

Run = Callable[..., Any]
ABOUT = ("flights", "champion")
BODY = json.loads(BODIES[0])


@pytest.fixture
def team(tmp_path: Path) -> Team:
    """Somebody who promotes moody models, and a service that knows them."""
    return Team(tmp_path)


class Team:
    """Promotes models by decisions, as people do."""

    def __init__(self, folder: Path) -> None:
        self.publisher = Publisher(folder)
        self.publisher.environment.update(ENVIRONMENT)
        self._folder = folder
        settings = Settings.load(self.publisher.environment)
        self.aliases = open_aliases(settings, self.publisher.store)

    def promote(self, answer: float, **content: Any) -> int:
        """Promote a model that answers `answer`; its revision."""
        bundle = moody(self._folder / f"m{answer:g}", answer, **content)
        reference = self.publisher.commit("flights", bundle)
        return self.aliases.promote(ABOUT, reference, who="team", why="new").revision

    def serve(self, **settings: Any) -> Any:
        """A service of what is promoted."""
        return service(self.publisher, self._folder / "service", "flights", **settings)


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            if alive(pid):
                os.kill(pid, signal.SIGCONT)


def workers(service: Service) -> list[int]:
    return service.processes("pen:flights")


def ask(service: Service) -> httpx.Response:
    return service.post("/invocations", BODY)


def answer_of(service: Service) -> float:
    answer = ask(service)
    assert answer.status_code == 200, answer.text
    return float(answer.json()["predictions"][0])


# workers --------------------------------------------------------------------------------------


def test_a_worker_that_hangs_is_replaced_and_its_rows_are_answered_by_another(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with (
        run(serving_batch_timeout=0.5, serving_inline_rows=0) as service,
        Load(service.address, BODIES) as load,
    ):
        load.wait(20)
        victim = workers(service)[0]
        with stopped(victim):
            eventually("its end", lambda: not alive(victim))
        eventually("another", lambda: len(workers(service)) == 2)
        load.wait(20)
    assert load.report.failed == []


@pytest.mark.parametrize("mood", ["dies", "hangs"])
def test_a_model_that_cannot_answer_makes_way_for_the_one_before(team: Team, mood: str) -> None:
    """The breaker opens; the record of the decision is a revision above the bad one."""
    team.promote(1.0)
    with team.serve(serving_breaker_deaths=2, serving_batch_timeout=0.5) as service:
        assert answer_of(service) == 1.0
        bad = team.promote(2.0, mood=mood)
        service.wait_for_page(f"{bad}: active")
        # Its row looks like poison, since it is all that there is.
        assert ask(service).status_code in (500, 504)
        service.wait_for_page("rolled-back")
        assert answer_of(service) == 1.0
        assert service.revision() == bad + 1
    newest = team.aliases.log.newest(*ABOUT)
    assert newest is not None
    assert (newest.action, newest.restores) == ("rollback", 1)
    assert "keep ending" in newest.why


def test_without_another_model_requests_are_refused_at_once_until_a_worker_lives(
    team: Team,
) -> None:
    team.promote(2.0, mood="dies")
    with team.serve(serving_breaker_deaths=2, serving_restart_wait=600) as service:
        # The first requests end workers; what waits then is refused, like all that comes later.
        assert ask(service).status_code in (500, 503)
        refused = eventually("a refusal", lambda: refusal(service))
        assert "keep ending" in refused.json()["message"]
        assert refused.headers["retry-after"] == "1"
        assert not service.ready
        team.promote(3.0)
        eventually("the next model", lambda: ask(service).status_code == 200)
        assert answer_of(service) == 3.0


def refusal(service: Service) -> httpx.Response | None:
    answer = ask(service)
    return answer if answer.status_code == 503 else None


# going back -----------------------------------------------------------------------------------


def test_a_model_that_fails_its_first_requests_is_rolled_back_once(team: Team) -> None:
    """What is held takes over again without a load, and the bad model does not come back."""
    team.promote(1.0)
    settings = {"serving_trial_requests": 10, "serving_trial_failures": 0.5}
    with team.serve(serving_rollback_hold=600, **settings) as service:
        first = set(workers(service))
        bad = team.promote(2.0, mood="raises")
        service.wait_for_page(f"{bad}: active")
        statuses = [ask(service).status_code for _ in range(6)]
        assert statuses == [500] * 6
        eventually("the way back", lambda: ask(service).status_code == 200)
        assert service.revision() == bad + 1
        # More than those six may have been sent before the way back.
        service.wait_for_page("requests failed or were too slow")
        eventually("the end of the bad one", lambda: set(workers(service)) == first)
        assert [answer_of(service) for _ in range(20)] == [1.0] * 20
        assert set(workers(service)) == first
    actions = [entry.action for entry in team.aliases.log.entries(*ABOUT)]
    assert actions == ["promote", "promote", "rollback"]


def test_a_model_that_is_too_slow_is_rolled_back(team: Team) -> None:
    team.promote(1.0)
    settings = {"serving_trial_requests": 4, "serving_trial_latency_ms": 1500}
    with team.serve(**settings) as service:
        team.promote(2.0, mood="slow", seconds=1.6)
        service.wait_for_page("2: active")
        assert [answer_of(service) for _ in range(3)] == [2.0] * 3
        eventually("the way back", lambda: answer_of(service) == 1.0)
        service.wait_for_page("rolled-back")


def test_what_cannot_be_recorded_is_gone_back_from_all_the_same(
    publisher: Publisher, tmp_path: Path
) -> None:
    """Heads moved by hand stand in no log: nothing is recorded, and the old revision answers."""
    publisher.environment.update(ENVIRONMENT)
    publisher.publish("flights", moody(tmp_path / "good", 1.0))
    with service(publisher, tmp_path / "s", "flights", serving_trial_requests=2) as running:
        publisher.publish("flights", moody(tmp_path / "bad", 2.0, mood="raises"))
        running.wait_for_page("2: active")
        eventually("the way back", lambda: ask(running).status_code == 200)
        assert running.revision() == 1


def test_going_back_by_hand_needs_no_load_while_the_model_is_held(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    """A, B, A: the workers of A that were held serve again, and nothing else was started."""
    first = publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run(serving_rollback_hold=600) as service:
        held = set(workers(service))
        publisher.publish("flights", bundles["lightgbm-2"].folder)
        service.wait_for(2)
        assert held < set(workers(service))
        with Load(service.address, BODIES, connections=2) as load:
            load.wait(5)
            publisher.point("flights", first)
            service.wait_for(3)
            load.wait(5)
        assert load.report.failed == []
        assert held <= set(workers(service))
        publisher.point("flights", first)
        service.wait_for(4)
        assert held <= set(workers(service))


def test_what_was_held_long_enough_ends(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run(serving_rollback_hold=0.5) as service:
        held = set(workers(service))
        publisher.publish("flights", bundles["lightgbm-2"].folder)
        service.wait_for(2)
        eventually("their end", lambda: not any(map(alive, held)))
        assert '"state": "held"' in service.log


# candidates -----------------------------------------------------------------------------------


def test_candidates_that_clients_would_notice_are_rejected(team: Team, tmp_path: Path) -> None:
    team.promote(1.0)
    with team.serve() as service:
        team.promote(2.0, signature=stricter("hour"))
        service.wait_for_page("2: rejected")
        assert "may not be missing any more" in service.get("/").text
        team.promote(3.0, gives=float("nan"))
        service.wait_for_page("3: rejected")
        assert "row 0 gives [nan]" in service.get("/").text
        assert answer_of(service) == 1.0
    with team.serve(serving_allow_schema_change=1) as service:
        team.promote(4.0, signature=stricter("distance"))
        eventually("another contract", lambda: answer_of(service) == 4.0)


@pytest.mark.parametrize("policy", ["availability", "resource"])
def test_a_model_that_does_not_fit_beside_the_live_one(team: Team, policy: str) -> None:
    """It is rejected; or the live one goes first, where that was asked for."""
    team.promote(1.0, ballast=300 << 20)
    budget = {"serving_memory_mb": 650, "serving_reload_policy": policy, "serving_workers": 1}
    with team.serve(**budget) as service:
        team.promote(2.0, ballast=300 << 20)
        if policy == "availability":
            service.wait_for_page("2: rejected")
            assert "MiB of memory" in service.get("/").text
            assert answer_of(service) == 1.0
        else:
            eventually("the next", lambda: ask(service).json().get("predictions") == [2.0])
            assert "downtime" in service.log


def test_a_burst_of_changes_is_followed_once(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run(serving_quiescence=1.5) as service:
        publisher.publish("flights", bundles["lightgbm-2"].folder)
        publisher.publish("flights", bundles["lightgbm-3"].folder)
        publisher.publish("flights", bundles["lightgbm-1"].folder)
        service.wait_for(4)
        # The first of them is followed at once, unless the next ones overtake it while it loads.
        assert revisions(service) in ([1, 4], [1, 2, 4])


def revisions(service: Service) -> list[int]:
    """Those that were active, in order."""
    lines = (json.loads(line) for line in service.log.splitlines() if line.startswith("{"))
    return [line["revision"] for line in lines if line.get("state") == "active"]


def test_a_generation_that_does_not_drain_is_ended_and_its_rows_move_on(team: Team) -> None:
    team.promote(1.0, mood="slow", seconds=120)
    with team.serve(serving_drain_timeout=1, serving_workers=1, serving_batch_timeout=600) as run:
        (old,) = workers(run)
        with Load(run.address, BODIES, connections=1, limit=1) as load:
            eventually("a request", lambda: 'pending_request_count{model="flights"} 1' in text(run))
            team.promote(2.0)
            eventually("its end", lambda: not alive(old))
            load.wait(1)
    assert [note.body["predictions"] for note in load.report.notes] == [[2.0]]


def text(service: Service) -> str:
    return service.get("/metrics").text


def test_what_would_wait_too_long_is_refused_at_once(team: Team) -> None:
    """Twenty times what the model can do: what is taken is answered soon, the rest gets 503 at once."""
    team.promote(1.0, mood="slow", seconds=0.1)
    limits = {"serving_workers": 1, "serving_max_batch_size": 2, "serving_max_queue_wait_ms": 150}
    with team.serve(**limits) as running:
        assert running.post("/invocations", BODY).status_code == 200  # it knows its pace now
        with Load(running.address, BODIES, connections=40, pause=0.005) as load:
            eventually("some answers", lambda: _count(load, 200) > 6 and _count(load, 503) > 100)
        refused = [note for note in load.report.notes if note.status == 503]
        assert _count(load, 200) + len(refused) == len(load.report.notes)
        assert "too long" in refused[0].text
        assert running.post("/invocations", BODY).status_code == 200


def _count(load: Load, status: int) -> int:
    return sum(note.status == status for note in load.report.notes)
