"""The runner on a real Nomad agent, where a recorded one would prove nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pipelines.dispatch import Dispatcher
from pipelines.index import Index
from pipelines.orphans import find_orphans
from pipelines.runners.nomad.contract import parent_id
from pipelines.runners.nomad.errors import NomadRefused, NomadUntrusted, NotRegistered
from pipelines.runners.nomad.runner import NomadRunner
from pipelines.runners.nomad.transport import Access
from pipelines.runners.states import Kind, Running
from pipelines.sizing import Sizing
from registry.artifacts.attempt import JobSpec, RecipeRecord, attempts_of, end_of
from registry.artifacts.store import open_store
from tests.contracts.nomad_rig import NomadRig, a_parent
from tests.contracts.rigs import REFERENCE, Does, eventually, new_attempt
from tests.contracts.rigs import end_of as ended_of
from tests.pipelines.small import Recorder
from tests.registry.makers import a_recipe
from tests.servers.fixtures import require
from tests.servers.nomad import NomadServer, nomad_agent

ROOT = Path(__file__).resolve().parents[4]
HOLD = Does(hold=True)

#: Reads the payload as `python -m jobs` does, takes 300 MiB of memory, and commits.
HUNGRY = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tempfile import mkdtemp
from registry.artifacts.attempt import Attempt
from registry.artifacts.commit import Output, commit
from registry.artifacts.provenance import producer_of
from registry.artifacts.records import decode_record
from registry.artifacts.store import open_store
words = json.loads(Path(os.environ["NOMAD_TASK_DIR"], "dispatch.json").read_text())
store = open_store(words["root"])
attempt = decode_record(store.get(words["attempt"]), Attempt, "", "")
taken = b"x" * (300 << 20)
out = Path(mkdtemp(dir=os.environ["NOMAD_TASK_DIR"]))
(out / "made.txt").write_text("made")
commit(store, attempt, Output(out, resources={"peak_rss_mb": 1500.0}), producer_of(attempt))
"""

PIPELINE = """
import sys
import msgspec
from pipelines.runners.nomad.runner import NomadRunner
from pipelines.runners.nomad.transport import Access
from registry.artifacts.attempt import Attempt
from tests.contracts.rigs import REFERENCE
runner = NomadRunner(Access.of(), sys.argv[1])
attempt = msgspec.json.decode(sys.argv[2], type=Attempt)
runner.start(attempt, REFERENCE)
print("started", flush=True)
runner.wait(attempt)
"""


@pytest.fixture
def rig(weird_tmp_path: Path, nomad_server: NomadServer) -> Iterator[NomadRig]:
    made = NomadRig(weird_tmp_path, nomad_server)
    yield made
    made.close()


@pytest.fixture
def runner(rig: NomadRig) -> Iterator[NomadRunner]:
    with rig.runner() as made:
        yield made


def running(rig: NomadRig, runner: NomadRunner):
    attempt = rig.attempt(HOLD)
    runner.start(attempt, REFERENCE)
    eventually(lambda: rig.runs(attempt), "the job runs")
    return attempt


def test_a_child_that_somebody_stopped_by_hand(rig, runner, nomad_server):
    attempt = running(rig, runner)
    (child,) = rig.children(attempt)
    nomad_server.api.delete(f"/v1/job/{child}")
    assert ended_of(runner, attempt).kind is Kind.KILLED


def test_sigkill_from_nowhere_is_probably_memory(rig, runner):
    """raw_exec never says that the kernel did it."""
    attempt = running(rig, runner)
    rig.kill(attempt, signal.SIGKILL)
    end = ended_of(runner, attempt)
    assert end.kind is Kind.OOM
    assert "probably" in end.reason


def test_a_program_that_is_not_there(rig, runner):
    rig.register("s", a_parent("s", ["/no/such/program"]))
    attempt = rig.attempt(Does())
    runner.start(attempt, REFERENCE)
    assert ended_of(runner, attempt).kind is Kind.DRIVER


def test_a_killed_pipeline_is_followed_by_one_that_finds_the_child(rig, runner, nomad_server):
    attempt = rig.attempt(HOLD)
    words = [sys.executable, "-c", PIPELINE, rig.name, msgspec.json.encode(attempt).decode()]
    env = {**os.environ, **nomad_server.environment}
    with subprocess.Popen(words, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as pipeline:
        assert pipeline.stdout is not None
        assert pipeline.stdout.readline() == "started\n"
        pipeline.kill()
    runner.start(attempt, REFERENCE)
    eventually(lambda: isinstance(runner.state(attempt), Running), "it runs")
    rig.release(attempt)
    assert ended_of(runner, attempt).kind is None
    assert rig.runs(attempt) == 1
    assert len(rig.children(attempt)) == 1


def test_out_of_memory_climbs_and_the_next_run_starts_there(rig, runner, tmp_path):
    """A job that needs more than size s: killed, made at m; another date begins at m."""
    store = open_store(str(tmp_path / "store"))
    command = [sys.executable, "-c", HUNGRY, str(ROOT)]
    for size, memory in (("s", 100), ("m", 600)):
        rig.register(size, a_parent(size, command, memory))
    recorder = Recorder()

    def make(date: str) -> list[str]:
        recipe = a_recipe(date=date)
        sizing = Sizing(store, Index(store))
        dispatcher = Dispatcher(store, runner, "run-1", observer=recorder, sizing=sizing)
        dispatcher.make(JobSpec("train", RecipeRecord.of(recipe), {}), "train")
        past = attempts_of(store, recipe.key)
        return [f"{attempt.size} {end_of(store, attempt).kind}" for attempt in past]

    assert make("2013-06-30") == ["s oom", "m committed"]
    assert make("2013-07-01") == ["m committed"]
    assert len(recorder.steps("retried")) == 1


def test_jobs_whose_pipeline_is_gone_are_listed(rig, runner, tmp_path):
    attempt = running(rig, runner)
    found = [job for job in runner.live() if job.is_of(attempt)]
    assert [job.record for job in found] == [attempt.path]
    assert find_orphans(open_store(str(tmp_path / "store")), runner) == []  # not of this store


def test_a_parent_that_is_not_registered(rig, nomad_server):
    with (
        NomadRunner(Access.of(nomad_server.environment), "nobody") as runner,
        pytest.raises(NotRegistered, match=r"nobody-train-s .*penstock register"),
    ):
        runner.start(new_attempt("nomad", ""), REFERENCE)


RULES = """
namespace "default" {
  capabilities = ["list-jobs", "read-job", %s]
}
"""


def test_tls_and_tokens(tmp_path_factory):
    """One agent for both: starting one takes seconds."""
    program = require("nomad")
    with nomad_agent(program, tmp_path_factory.mktemp("acl"), acl=True, tls=True) as server:
        address = {"NOMAD_ADDR": server.address}
        with NomadRunner(Access.of(address)) as runner, pytest.raises(NomadUntrusted):
            runner.live()
        server.register(a_parent(parent_id("penstock", "train", "s"), ["/bin/true"]))
        server.policy("reads", RULES % '"read-logs"')
        server.policy("works", RULES % '"dispatch-job", "read-logs"')
        environment = {**server.environment, "NOMAD_TLS_SERVER_NAME": "server.global.nomad"}
        reader = {**environment, "NOMAD_TOKEN": server.make_token("reads")}
        attempt = new_attempt("nomad", "")
        with NomadRunner(Access.of(reader)) as runner:
            assert runner.live() == []
            with pytest.raises(NomadRefused, match="dispatch-job"):
                runner.start(attempt, REFERENCE)
        worker = {**environment, "NOMAD_TOKEN": server.make_token("works")}
        with NomadRunner(Access.of(worker)) as runner:
            runner.start(attempt, REFERENCE)
            assert ended_of(runner, attempt).kind is None
            with pytest.raises(NomadRefused, match="submit-job"):
                runner._client.stop(parent_id("penstock", "train", "s"), 50)
