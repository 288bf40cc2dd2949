from __future__ import annotations

import pytest

from tests.campaigns.survival import POINTS, Tally, plan_of, play

pytestmark = pytest.mark.timeout(0)


@pytest.mark.campaign
def test_the_next_run_completes_what_a_killed_pipeline_began(campaign, tmp_path):
    """The short form kills at every point once; the long form draws, with rivals and faults."""
    tally = Tally()
    for turn in campaign.rounds(short=len(POINTS)):
        play(plan_of(turn.number, turn.random), tmp_path / str(turn.number), tally)
    print(f"{tally.rounds} rounds, {tally.rivals} with a rival, jobs taken up: {tally.taken_up}")
    print(f"points: {dict(sorted(tally.hits.items()))}")
    if campaign.only is None:
        assert set(tally.hits) == set(POINTS)
        assert tally.taken_up
