"""Several pipelines as processes of one machine, with small jobs in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from registry.artifacts.attempt import attempts_of, end_of
from tests.campaigns.pipeline import ABOUT, SIZES, aliases_of, run_pipeline, store_of
from tests.campaigns.survival import check_whole
from tests.races import PATIENCE, processes

CANARY = "c4n4ry-0f-a-s3cret"


@pytest.fixture
def start(tmp_path):
    """Starts a pipeline on the store of this test."""
    children = []

    def begin(root="publish", **env):
        child = processes().Process(target=run_pipeline, args=(env, tmp_path, root))
        child.start()
        children.append(child)
        return child

    yield begin
    for child in children:
        child.kill()
        child.join(PATIENCE)


def end(child):
    child.join(PATIENCE)
    return child.exitcode


def attempts(folder):
    store = store_of(folder)
    keys = {path.split("/")[1] for path in store.list("attempts/")}
    return {key: attempts_of(store, key) for key in keys}


@pytest.mark.timeout(300)
def test_racing_pipelines_make_one_verdict_and_every_job_once(start, tmp_path):
    rivals = [start() for _ in range(3)]
    assert [end(child) for child in rivals] == [0, 0, 0]
    assert len(check_whole(tmp_path)) == SIZES["publish"]
    assert {len(made) for made in attempts(tmp_path).values()} == {1}
    # Each job wrote its files once: nobody ran one twice.
    assert len(list(store_of(tmp_path).list("data/"))) == 2 * SIZES["publish"]
    (entry,) = aliases_of(tmp_path).log.entries(*ABOUT)
    head = aliases_of(tmp_path).heads.read(*ABOUT)
    assert head is not None
    assert (head.revision, head.live) == (1, entry.live)


def test_a_job_that_outlived_its_pipeline_is_taken_up(start, tmp_path):
    first = start("ingest", SMALLJOB_PAUSE="1.5")
    _until(lambda: list((tmp_path / "var" / "jobs").glob("*/started.json")))
    os.kill(first.pid, signal.SIGKILL)
    assert end(first) == -signal.SIGKILL
    assert end(start("ingest")) == 0
    ((attempt,),) = attempts(tmp_path).values()
    assert end_of(store_of(tmp_path), attempt).kind == "committed"
    assert len(check_whole(tmp_path)) == 1


def test_a_killed_job_is_made_again(start, tmp_path):
    pipeline = start("ingest", SMALLJOB_PAUSE="1.5")
    _until(lambda: list((tmp_path / "var" / "jobs").glob("*/started.json")))
    (started,) = (tmp_path / "var" / "jobs").glob("*/started.json")
    os.killpg(json.loads(started.read_text())["pid"], signal.SIGKILL)
    assert end(pipeline) == 0
    ((first, second),) = attempts(tmp_path).values()
    kinds = [end_of(store_of(tmp_path), attempt).kind for attempt in (first, second)]
    assert kinds == ["signal", "committed"]


def test_no_secret_of_the_environment_is_written_anywhere(start, tmp_path):
    secrets = dict.fromkeys(
        ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "VAULT_TOKEN", "NOMAD_TOKEN",
         "CONSUL_HTTP_TOKEN"),
        CANARY,
    )  # fmt: skip
    # First jobs that fail, so that there are logs and ends of failures; then whole ones.
    assert end(start(SMALLJOB_PAUSE="not a number", **secrets)) == 70
    assert end(start(**secrets)) == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" for path in files)
    assert any(path.name == "job.json" for path in files)
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []


def _until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
