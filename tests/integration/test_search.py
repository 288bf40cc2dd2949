"""A search by halving of real data on a real Nomad, whose pipeline is killed half way.

Eight trials in the suite, 64 in `make campaign`. On a pipeline that is killed at every moment, and
on the bytes of what it leaves, see `tests/campaigns/test_search.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from jobs.tables import read_table
from registry.aliases.decision import DecisionLog
from registry.artifacts.fetch import fetch, read_manifest
from registry.artifacts.manifest import Manifest
from registry.halving import sizes
from tests.campaigns.pipeline import ROOT
from tests.integration.searchrun import ROUNDS
from tests.integration.world import Pipeline, Round, World, until
from tests.plugins.campaign import Campaign
from tests.servers.fixtures import require
from tests.servers.nomad import nomad_agent

pytestmark = [pytest.mark.timeout(0), pytest.mark.xdist_group("search")]
KINDS = ("ingest", "features", "train", "evaluate", "search")
DATE = "2013-02-10"
IN_FLIGHT = 6
#: Trials with what is set, and eta; each has three rungs.
SHORT, LONG = (8, 2), (64, 4)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("search")
    with nomad_agent(require("nomad"), folder / "nomad") as nomad:
        made = World(nomad, folder, nomad.environment, str(folder / "stores"))
        made.register("s", kinds=KINDS, command=sys.executable)
        yield made


@pytest.mark.campaign
def test_a_search_whose_pipeline_is_killed_half_way(campaign: Campaign, world: World):
    trials, eta = LONG if campaign.long else SHORT
    counts = sizes(trials, eta, 3)
    for turn in campaign.rounds(short=1):
        begun = time.monotonic()
        with world.round(turn.number) as made:
            killed_half_way(made, trials, eta)
            before = made_by(made)
            assert not manifests(made, "search")
            made.succeeds(start(made, trials, eta))
            once(made, before)
            whole(made, world, counts)
            published(made)
            print(f"{trials} trials, {len(made.attempts())} jobs, {len(before)} of them committed "
                  f"when the pipeline was killed, {time.monotonic() - begun:.0f} s")  # fmt: skip


def killed_half_way(made: Round, trials: int, eta: int) -> None:
    """Start a pipeline, and kill it when half of its evaluations are committed."""
    pipeline, counts = start(made, trials, eta), sizes(trials, eta, 3)
    until(lambda: half_way(made, pipeline, counts), "half of it is there")
    pipeline.kill()


def start(made: Round, trials: int, eta: int) -> Pipeline:
    """A pipeline that searches and publishes."""
    folder = made.world.folder / f"search-{len(made.pipelines)}"
    folder.mkdir(exist_ok=True)
    words = [
        "search", "flights", "--date", DATE, "--random", str(trials - 1), "--publish",
        "--set", "lightgbm.num_leaves=4..127", "--set", "lightgbm.lambda_l2=log:0.1..100",
        "--halving", str(eta), "--rungs", "3",
    ]  # fmt: skip
    env = {
        **os.environ,
        **made.world.environment,
        "PENSTOCK_STORE": made.url,
        "PENSTOCK_ENVIRONMENT": "dev/test",
        "PENSTOCK_VAR": str(folder / "var"),
        "PENSTOCK_COMMIT": "0" * 40,
        "PENSTOCK_NOMAD_IN_FLIGHT": str(IN_FLIGHT),
    }
    log = folder / "said.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.searchrun", *words],
            cwd=ROOT, env=env, text=True, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    made.pipelines.append(Pipeline(process, log))
    return made.pipelines[-1]


def half_way(made: Round, pipeline: Pipeline, counts: list[int]) -> bool:
    """Whether half of the evaluations are committed; no more jobs are in flight than may be."""
    assert pipeline.process.poll() is None, pipeline.said
    alive = [job for job in made.children() if job["Status"] != "dead"]
    assert len(alive) <= IN_FLIGHT
    return len(list(made.store.list("manifests/evaluation/"))) >= sum(counts) // 2


def made_by(made: Round) -> dict[str, str]:
    """Which writer made each artifact that is committed."""
    return {manifest.key: manifest.producer.writer for manifest in manifests(made, "")}


def manifests(made: Round, family: str) -> list[Manifest]:
    store = made.store
    paths = store.list(f"manifests/{family}/" if family else "manifests/")
    return [read_manifest(store, path) for path in paths]


def once(made: Round, before: dict[str, str]) -> None:
    """What was committed stayed; no artifact had a second attempt, no attempt a second child."""
    after = made_by(made)
    assert before.items() <= after.items()
    attempts = Counter(attempt.key for attempt in made.attempts())
    assert set(attempts) == set(after)
    assert set(attempts.values()) == {1}
    assert set(made.counts().values()) == {1}


def whole(made: Round, world: World, counts: list[int]) -> None:
    """A table with every rung, and a page with a plot."""
    (found,) = manifests(made, "search")
    path = next(iter(made.store.list("manifests/search/")))
    folder = fetch(made.store, found.reference(path), world.folder / "cache")
    rows = read_table(folder / "trials.parquet").to_pylist()
    rungs = Counter(row["rung"] for row in rows)
    own = rungs[3] - counts[2]  # what is set, where it is not among the best
    assert own in (0, 1)
    assert [rungs[1], rungs[2]] == counts[:2]
    assert {row["rounds"] for row in rows if row["rung"] == 3} == {ROUNDS}
    for rung in (1, 2):
        check_rung([row for row in rows if row["rung"] == rung])
    assert "<svg" in (folder / "report.html").read_text()


def check_rung(rows: list[dict[str, Any]]) -> None:
    """Who went on is better than who did not; what is set may be there for comparison."""
    stayed = [row["log_loss"] for row in rows if row["went_on"] and row["trial"]]
    gone = [row["log_loss"] for row in rows if not row["went_on"]]
    assert max(stayed) <= min(gone) + 1e-12


def published(made: Round) -> None:
    """The champion is the model that was trained after the search."""
    (decision,) = DecisionLog(made.store).entries("flights", "champion")
    assert decision.action == "publish"
    (search,) = manifests(made, "search")
    (model,) = [m for m in manifests(made, "model") if m.key == decision.candidate.key]
    assert model.inputs["search"] == [search.key]
