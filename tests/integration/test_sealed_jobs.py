"""Vault is sealed while a pipeline runs on Nomad, whose jobs get the store's credentials from it.

Sealed under a pipeline that runs its jobs on this machine: `test_sealed.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry.errors import Temporary
from tests.integration.world import Round, World, until
from tests.plugins.campaign import Campaign
from tests.servers.cluster import PROGRAMS, Cluster, cluster
from tests.servers.fixtures import require, set_environment

pytestmark = [pytest.mark.timeout(0), pytest.mark.xdist_group("kills")]
#: The credentials of the test are not those of the pipeline.
WITHOUT = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """All servers with their state on disk: a Vault in memory cannot be opened again."""
    programs = {name: require(name) for name in PROGRAMS}
    folder = tmp_path_factory.mktemp("sealed")
    with cluster(programs, folder / "cluster", persistent=True, name="dev/test") as made:
        yield made


@pytest.fixture(scope="module")
def world(here: Cluster, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Jobs log in to Vault by their identity; the pipeline by a token."""
    folder = tmp_path_factory.mktemp("world")
    made = World(here.nomad, folder, here.environment, here.store)
    made.register("s", vault=True, env=here.storage)
    return made


@pytest.mark.campaign
def test_a_sealed_vault(
    campaign: Campaign, here: Cluster, world: World, monkeypatch: pytest.MonkeyPatch
):
    """What runs has its credentials; what is to start waits, and goes on after unsealing."""
    set_environment(monkeypatch, here.s3.environment)  # the test's own way into the store
    for turn in campaign.rounds(short=20 if campaign.long else 2):
        with world.round(f"sealed-{turn.number}") as made:
            made.hold("ingest")
            pipelines = [made.start(**WITHOUT)]
            made.await_held("ingest", pipelines[0])
            here.vault.seal()
            try:
                is_refused(here, made)
                made.release()
                until(lambda made=made: waits(made, "features"), "a child that waits for Vault")
                if turn.number % 2:
                    pipelines.pop().kill()
                else:
                    pipelines[0].says("is sealed")
            finally:
                here.vault.unseal()
            for pipeline in [*pipelines, made.start(**WITHOUT)]:
                made.succeeds(pipeline)
            made.check()
            print(f"round {turn.number}: attempts at features ended {made.ends('features')}")
            assert made.ends("features")[-1] == "committed"


def is_refused(here: Cluster, made: Round) -> None:
    """A pipeline that begins now ends at once, and says what to do."""
    code, said = made.end(made.start(**WITHOUT))
    assert code == Temporary.exit_code, said
    assert f"Vault at {here.vault.address} is sealed" in said
    assert "vault operator unseal" in said


def waits(made: Round, kind: str) -> bool:
    """Whether a child was placed whose task has not begun."""
    allocations = made.world.nomad.api.get("/v1/allocations")
    return any(
        each["ClientStatus"] == "pending" and each["JobID"].startswith(f"penstock-{kind}-")
        for each in allocations
    )
