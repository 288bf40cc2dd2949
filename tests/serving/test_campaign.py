"""Deaths and reloads at random moments under load: what clients see, and what is left behind."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.loadclient import Load
from tests.campaigns.soak import soak
from tests.campaigns.workers import patient, quiet
from tests.plugins.campaign import Campaign
from tests.serving.conftest import Trained
from tests.serving.models import NUMERIC, row
from tests.serving.rig import Publisher, Service, alive, eventually

CONNECTIONS = 6


class Chaos:
    """One service, and things that happen to it."""

    def __init__(self, service: Service, publisher: Publisher, numbers: dict[str, Trained]) -> None:
        self.service = service
        self.publisher = publisher
        self.bundles = numbers
        self.revision = 0
        self.gateways_killed = self.workers_killed = 0
        self.requests = self.broken = 0
        self.answers: dict[str, list[float]] = {}

    def publish(self, name: str) -> None:
        reference = self.publisher.commit("flights", self.bundles[name].folder)
        self.answers[reference.version[:16]] = self.bundles[name].answers
        self.revision = self.publisher.point("flights", reference).revision

    def reload(self, choose: random.Random) -> None:
        """Publish, and sometimes kill a worker, old or new, while it is brought up."""
        self.publish(choose.choice(["lightgbm-1", "lightgbm-2", "lightgbm-3"]))
        if choose.random() < 0.5:
            time.sleep(choose.uniform(0, 0.3))
            self.kill_worker(choose)
        self.service.wait_for(self.revision)

    def kill_worker(self, choose: random.Random) -> None:
        self.workers_killed += self.kill(choose, "pen:flights")

    def kill_gateway(self, choose: random.Random) -> None:
        self.gateways_killed += self.kill(choose, "pen:gateway")
        eventually("another gateway", lambda: self.service.ready)

    def kill(self, choose: random.Random, name: str) -> int:
        """SIGKILL one process, if there is one just now; returns how many."""
        found = self.service.processes(name)
        if not found:
            return 0
        victim = choose.choice(found)
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        eventually("the death", lambda: not alive(victim))
        return 1


@pytest.mark.campaign
@pytest.mark.usefixtures("no_shm_leaks")
def test_deaths_and_reloads_under_load(
    publisher: Publisher, numbers: dict[str, Trained], run: Callable[..., Any], campaign: Campaign
) -> None:
    """Only connections of a killed gateway break; every answer is the named version's."""
    chaos = Chaos(None, publisher, numbers)  # type: ignore[arg-type]
    chaos.publish("lightgbm-1")
    with run(serving_gateways=2) as service:
        chaos.service = service
        service.example = row(NUMERIC, 1)
        bodies = numbers["lightgbm-1"].bodies
        actions = [chaos.reload, chaos.kill_worker, chaos.kill_worker, chaos.kill_gateway]
        for turn in campaign.rounds(short=6):
            killed = chaos.gateways_killed
            with Load(service.address, bodies, connections=CONNECTIONS) as load:
                load.wait(turn.random.randint(1, 40))
                turn.random.choice(actions)(turn.random)
                load.wait(40)
            check(load, chaos, gateways=chaos.gateways_killed - killed)
        print(
            f"{chaos.gateways_killed} gateways and {chaos.workers_killed} workers killed, ", end=""
        )
        print(
            f"{chaos.revision - 1} reloads; {chaos.requests} requests, {chaos.broken} of them on ",
            end="",
        )
        print("connections of a gateway that was killed, none failed otherwise")


def check(load: Load, chaos: Chaos, gateways: int) -> None:
    """Failures are explained by dead gateways; answers are right; revisions never go back."""
    failed = load.report.failed
    assert {note.status for note in failed} <= {0}, [note.text for note in failed if note.status]
    assert len(failed) <= gateways * CONNECTIONS
    chaos.requests += len(load.report.notes)
    chaos.broken += len(failed)
    for note in load.report.notes:
        if note.status == 200:
            assert note.body["predictions"] == [chaos.answers[note.version][note.request]]
    for connection in range(CONNECTIONS):
        revisions = load.report.revisions(connection)
        assert revisions == sorted(set(revisions))


@pytest.mark.campaign
@pytest.mark.usefixtures("no_shm_leaks")
def test_workers_that_die_at_boundaries_of_frames(
    tmp_path: Path, numbers: dict[str, Trained], campaign: Campaign
) -> None:
    """No client sees it, and supervisor and gateway keep nothing of the dead."""
    with patient(tmp_path, numbers["lightgbm-1"], "KILL", every=0.15) as made:
        made.recover()
        before = quiet(made.service)
        for _ in campaign.rounds(short=2):
            made.bear(hits=5)
        made.recover()
        eventually("nothing left", lambda: quiet(made.service) == before)
        print(f"{sum(made.boundaries.values())} workers killed: {dict(made.boundaries)}")
        print(f"{made.answered} requests, none failed")


@pytest.mark.campaign
def test_workers_that_hang_at_boundaries_of_frames(
    tmp_path: Path, numbers: dict[str, Trained], campaign: Campaign
) -> None:
    """Each is ended and replaced; no client sees more than the wait."""
    limit = 0.5
    settings = {"serving_batch_timeout": limit}
    with patient(tmp_path, numbers["lightgbm-1"], "STOP", every=1.0, **settings) as made:
        for _ in campaign.rounds(short=1):
            made.bear(hits=2)
            made.recover()
        hung = sum(made.boundaries.values())
        print(f"{hung} workers hung, all replaced: {dict(made.boundaries)}; limit {limit} s")
        print(f"{made.answered} requests, none failed")


#: Bytes that a service may grow with each reload before that is called a leak.
GROWTH = 1 << 20


@pytest.mark.campaign
def test_soak_with_reloads(tmp_path: Path, numbers: dict[str, Trained], campaign: Campaign) -> None:
    """In the long form a reload every 5 seconds."""
    with soak(tmp_path, numbers) as made:
        for _ in campaign.rounds(short=7):
            made.turn(seconds=5.0 if campaign.long else 0.0)
        print(f"{made.requests} requests, {made.reloads} reloads, none failed or wrong")
        print(f"slope of RSS: {made.slope / 1024:.1f} KiB a reload")
        assert made.slope < GROWTH


def test_the_soak_catches_a_leak(tmp_path: Path, numbers: dict[str, Trained]) -> None:
    with soak(tmp_path, numbers, leak=2 << 20) as made:
        for _ in range(6):
            made.turn(seconds=0.0)
        assert made.slope > GROWTH
