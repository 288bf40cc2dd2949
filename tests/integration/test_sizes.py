"""Sizes on a real Nomad, as whole pipelines meet them.

A job that needs more memory than its size, and where the next run begins, is in
`tests/pipelines/runners/nomad/test_agent.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.world import FOLLOWS, World, until
from tests.plugins.campaign import Campaign
from tests.servers.fixtures import require
from tests.servers.nomad import nomad_agent

pytestmark = [pytest.mark.timeout(0), pytest.mark.xdist_group("kills")]
#: MHz for each processor of a size: no node has that many.
NEVER = 10_000_000


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("sizes")
    with nomad_agent(require("nomad"), folder / "nomad") as nomad:
        made = World(nomad, folder, nomad.environment, str(folder / "stores"))
        made.register("s", "m", kinds=("ingest", "features"))
        made.register("l", kinds=("ingest",), cpu_mhz=NEVER)
        yield made


def test_what_never_fits_stops_with_the_reason_of_nomad(world: World):
    """At once: neither tried again, nor waited for until the deadline."""
    with world.round("never", "ingest") as made:
        code, said = made.end(made.start(SMALLRUN_SIZE="l"))
        assert code == 77, said
        assert f"size l asks for 8192 MiB and {2 * NEVER} MHz; no node has that much" in said
        assert "Nomad says: no room: cpu is exhausted on 1 of 1 nodes" in said
        assert made.ends("ingest") == ["no-fit"]
        until(lambda: made.child("ingest", dead=True), "the child waits no more")


@pytest.mark.campaign
def test_two_pipelines_that_would_choose_other_sizes_share_one_child(
    campaign: Campaign, world: World
):
    for turn in campaign.rounds(short=20 if campaign.long else 2):
        with world.round(f"two-{turn.number}") as made:
            made.hold("ingest")  # until both have met: one began it, the other follows
            pipelines = [made.start(SMALLRUN_SIZE=size) for size in ("s", "m")]
            until(lambda both=pipelines: any(FOLLOWS in p.said for p in both), "they met")
            made.release()
            for pipeline in pipelines:
                made.succeeds(pipeline)
            made.check()
            assert [made.ends(kind) for kind in ("ingest", "features")] == [["committed"]] * 2
