"""Kill what runs a pipeline on a real Nomad: it ends well, with everything there exactly once.

Two rounds each in the suite, twenty and more in `make campaign`. What is killed here: the pipeline,
a child, the agent that runs the children, the server. Consul under a service is killed and wiped in
`tests/serving/test_consul.py`; Vault is sealed in `test_sealed_jobs.py`.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from tests.integration.world import FOLLOWS, Round, World, stop_job, until
from tests.plugins.campaign import Campaign
from tests.plugins.campaign import Round as Turn
from tests.servers import remains
from tests.servers.fixtures import require
from tests.servers.nomad import nomad_agent

pytestmark = [pytest.mark.timeout(0), pytest.mark.xdist_group("kills")]
#: Kinds of steps of which each root has one; jobs of one of them are held while something is killed.
STEPS = {"features": ("ingest", "features"), "publish": ("train", "evaluate")}
#: A node counts as down some ten seconds after its last word, instead of half a minute.
IMPATIENT = {"min_heartbeat_ttl": "3s", "heartbeat_grace": "7s"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One Nomad for all kinds of rounds, which keeps its state; stores are folders."""
    folder = tmp_path_factory.mktemp("kills")
    with nomad_agent(
        require("nomad"), folder / "nomad", persistent=True, server=IMPATIENT
    ) as nomad:
        made = World(nomad, folder, nomad.environment, str(folder / "stores"))
        made.register("s")
        yield made


def rounds(
    campaign: Campaign, world: World, name: str, short: int = 2
) -> Iterator[tuple[Turn, Round, str]]:
    """For each round: what draws, the round, and the kind of job that is held in it."""
    for turn in campaign.rounds(short=20 if campaign.long else short):
        root = turn.random.choice(list(STEPS)) if campaign.long else "features"
        kinds = STEPS[root]
        kind = turn.random.choice(kinds) if campaign.long else kinds[turn.number % 2]
        with world.round(f"{name}-{turn.number}", root) as made:
            made.hold(kind)
            yield turn, made, kind
            made.check()
            print(f"{name} {turn.number}: {kind} held, its attempts ended {made.ends(kind)}")


def once(made: Round) -> bool:
    """Whether no job was made a second time."""
    return all(attempt.number == 1 for attempt in made.attempts())


@pytest.mark.campaign
def test_a_killed_pipeline(campaign: Campaign, world: World):
    """The next one takes up the child that runs, and tells how it ended; it is not made again."""
    for _, made, kind in rounds(campaign, world, "pipeline"):
        first = made.start()
        job, _ = made.await_held(kind, first)
        child = made.child(kind)
        first.kill()
        second = made.start()
        second.says(FOLLOWS)
        assert remains.lives(job)  # what was taken up had not ended
        made.release()
        made.succeeds(second)
        assert once(made)
        assert made.child(kind, dead=True) == child
        assert made.ends(kind) == ["committed"]  # as the second saw it: the first is dead


@pytest.mark.campaign
def test_a_killed_pipeline_whose_job_ends_alone(campaign: Campaign, world: World):
    """What a job commits while nobody waits for it is found, and not made again."""
    for _, made, kind in rounds(campaign, world, "alone", short=1):
        first = made.start()
        made.await_held(kind, first)
        child = made.child(kind)
        first.kill()
        made.release()
        until(lambda made=made, child=child: made.is_dead(child), "the child has ended")
        made.succeeds(made.start())
        assert once(made)
        assert made.child(kind, dead=True) == child


@pytest.mark.campaign
def test_a_child_that_somebody_stopped(campaign: Campaign, world: World):
    """Its end says who it was not; another attempt follows."""
    for _, made, kind in rounds(campaign, world, "child"):
        pipeline = made.start()
        made.await_held(kind, pipeline)
        stop_job(world.nomad, made.child(kind))
        until(lambda made=made, kind=kind: made.ends(kind) == ["killed", "open"], "another attempt")
        made.release()
        said = made.succeeds(pipeline)
        assert "ended with killed: somebody stopped the job, and not through penstock" in said
        assert made.ends(kind) == ["killed", "committed"]


@pytest.mark.campaign
def test_a_killed_client(campaign: Campaign, world: World):
    """Its tasks go on; unless it stays away, or they went with it: then they are made again."""
    scenes = (it_comes_back, it_stays_away, it_goes_with_its_tasks)
    for turn, made, kind in rounds(campaign, world, "client", len(scenes)):
        scenes[turn.number % len(scenes)](made, kind)


def it_comes_back(made: Round, kind: str) -> None:
    client = made.world.nomad.client
    pipeline = made.start()
    made.await_held(kind, pipeline)
    client.kill()
    client.start()
    made.release()
    made.succeeds(pipeline)
    assert once(made)


def it_stays_away(made: Round, kind: str) -> None:
    nomad = made.world.nomad
    pipeline = made.start()
    made.await_held(kind, pipeline)
    child = made.child(kind)
    nomad.client.kill()
    until(lambda: "lost" in states(made, child), "the allocation is lost")
    nomad.start()
    made.release()
    made.succeeds(pipeline)


def it_goes_with_its_tasks(made: Round, kind: str) -> None:
    nomad = made.world.nomad
    pipeline = made.start()
    held = made.await_held(kind, pipeline)
    nomad.client.kill()
    for pid in held:  # the job, and what watches over it for Nomad
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    made.release()
    nomad.start()
    made.succeeds(pipeline)


def states(made: Round, child: str) -> set[str]:
    found = made.world.nomad.allocations(child)
    return {allocation["ClientStatus"] for allocation in found}


@pytest.mark.campaign
def test_a_restarted_server(campaign: Campaign, world: World):
    """The pipeline waits on, and takes what it missed from the server that comes back."""
    for turn, made, kind in rounds(campaign, world, "server"):
        pipeline = made.start()
        made.await_held(kind, pipeline)
        server = world.nomad.server
        server.kill() if turn.random.random() < 0.5 else server.stop()
        if turn.random.random() < 0.5:
            made.release()  # the job ends while there is nobody to tell
        world.nomad.start()
        made.release()
        made.succeeds(pipeline)
        assert once(made)
