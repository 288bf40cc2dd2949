"""`penstock register` against a real Nomad: what is new, what differs, what is left alone."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.registration.cluster import batch_cluster
from pipelines.registration.register import plan, register
from pipelines.registration.specs import WORK
from pipelines.registration.wanted import KINDS, Wanted
from pipelines.runners.nomad import contract
from pipelines.runners.sizes import SIZES
from registry.artifacts.attempt import JobSpec, RecipeRecord, open_attempt
from registry.artifacts.records import encode_record
from registry.artifacts.store import open_store
from registry.errors import BadData, Temporary
from tests.jobspecs import rig
from tests.penstock.conftest import Place
from tests.registry.makers import a_recipe, commit_one
from tests.servers import process
from tests.servers.nomad import NomadServer

WORK_JOBS = len(KINDS) * len(SIZES)


@pytest.fixture
def place(tmp_path: Path, nomad_env: NomadServer) -> Place:
    """A folder from which commands find the session's Nomad."""
    return Place(tmp_path)


def actions(document: Any) -> dict[str, int]:
    found = [job["action"] for job in document["jobs"]]
    return {action: found.count(action) for action in set(found)}


def test_everything_is_new_once(place: Place, nomad_env: NomadServer):
    first = place.ok("register", "flights", "--dev", "--json").document
    assert actions(first) == {"new": WORK_JOBS + 1}
    registered = {job["ID"]: job for job in nomad_env.api.get("/v1/jobs")}
    assert set(registered) == {job["id"] for job in first["jobs"]}
    assert registered["penstock-train-xl"]["ParameterizedJob"]
    assert registered["penstock-pipeline-flights"]["Periodic"]
    again = place.ok("register", "flights", "--dev", "--json").document
    assert actions(again) == {"unchanged": WORK_JOBS + 1}
    versions = nomad_env.api.get("/v1/job/penstock-train-s/versions")["Versions"]
    assert len(versions) == 1


def test_a_plan_tells_the_difference_and_changes_nothing(place: Place, nomad_env: NomadServer):
    place.ok("register", "--dev")
    words = ("register", "--dev", "--env", "AWS_REGION=eu-west-1", "--var", "priority=70")
    done = place.ok(*words, "--plan")
    assert "changed   penstock-train-m" in done.out
    assert "Priority 50 → 70" in done.out
    assert "task job: Env[AWS_REGION] eu-west-1 (new)" in done.out
    assert f"0 jobs would be new, {WORK_JOBS} would be changed" in done.out
    assert nomad_env.api.get("/v1/job/penstock-train-m")["Priority"] == 50
    place.ok(*words)
    job = nomad_env.api.get("/v1/job/penstock-train-m")
    assert job["Priority"] == 70
    assert rig.task_of(job)["Env"]["AWS_REGION"] == "eu-west-1"


def test_a_file_of_variables_and_another_prefix(place: Place, nomad_env: NomadServer):
    path = place.folder / "prod.vars.hcl"
    path.write_text('datacenters = ["dc1"]\ncanary = 2\nenv = {\n  A = "1"\n}\n')
    words = ("register", "--image", "registry.example.com/p:1", "--var-file", path)
    place.ok(*words, PENSTOCK_NOMAD_PREFIX="team-b", PENSTOCK_STORE="s3://models/b")
    job = nomad_env.api.get("/v1/job/team-b-train-s")
    task = rig.task_of(job)
    assert job["Datacenters"] == ["dc1"]
    assert (task["Driver"], task["Config"]["image"]) == ("docker", "registry.example.com/p:1")
    assert (task["Env"]["A"], task["Env"]["PENSTOCK_STORE"]) == ("1", "s3://models/b")


def test_a_folder_as_store_is_named_from_the_root(place: Place, nomad_env: NomadServer):
    place.ok("register", "--dev", PENSTOCK_STORE="var/store")
    task = rig.task_of(nomad_env.api.get("/v1/job/penstock-train-s"))
    assert task["Env"]["PENSTOCK_STORE"] == str(place.folder / "var/store")


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        ("register", 64, "--image"),
        ("register flight --dev", 64, "flights"),
        ("register --dev --var cuont=1", 64, "'cuont'"),
        ("register --dev --var priority", 64, "NAME=VALUE"),
        ("register --dev --env PRIORITY", 64, "NAME=VALUE"),
        ("register --dev --var-file gone.hcl", 66, "gone.hcl"),
        ("register --dev --specs elsewhere", 66, "elsewhere"),
        ("register --dev --var priority=[[", 65, "job.nomad.hcl cannot be parsed"),
        ("register --dev --var disk_mb=1", 65, "log storage"),
        ("register --dev --env DB_PASSWORD=hunter2hunter2", 77, "DB_PASSWORD"),
        ("register --dev --env A=known-to-be-secret", 77, "Env.A"),
    ],
)
def test_what_is_off_is_named_and_nothing_registered(
    place: Place, nomad_env: NomadServer, words: str, code: int, named: str
):
    done = place.call(*words.split(), VAULT_TOKEN="known-to-be-secret")
    assert done.code == code, done.err
    assert named in done.err
    assert "hunter2" not in done.err
    assert "known-to-be-secret" not in done.err
    assert nomad_env.api.get("/v1/jobs") == []


def test_without_a_cluster(tmp_path: Path):
    done = Place(tmp_path).call("register", "--dev")
    assert done.code == 78
    assert "NOMAD_ADDR is not set" in done.err
    away = Place(tmp_path).call("register", "--dev", NOMAD_ADDR=rig.NOWHERE)
    assert away.code == 75
    assert "Nomad does not answer" in away.err


def test_who_comes_second_is_told(nomad_env: NomadServer):
    cluster = batch_cluster()
    wanted = Wanted(rig.spec_named(WORK), rig.values_of(WORK))
    mine = plan(cluster, wanted, {"priority": "51"})
    other = plan(cluster, wanted, {"priority": "52"})
    assert register(cluster, other)
    with pytest.raises(Temporary, match="by somebody else meanwhile"):
        register(cluster, mine)
    assert register(cluster, plan(cluster, wanted, {"priority": "52"})) is None
    cluster.close()


def test_vault_that_the_cluster_lacks_is_named(nomad_env: NomadServer):
    cluster = batch_cluster()
    wanted = Wanted(rig.spec_named(WORK), rig.values_of(WORK))
    with pytest.raises(BadData, match="Vault"):
        plan(cluster, wanted, {"vault": "true"})
    cluster.close()


@pytest.mark.timeout(240)
def test_what_is_registered_runs_an_attempt(place: Place, nomad_env: NomadServer):
    """The artifact is there already, which the job finds out by reading record and store."""
    url = str(place.folder / "store")
    store = open_store(url)
    commit_one(store, a_recipe())
    spec = JobSpec("train", RecipeRecord.of(a_recipe()), {})
    attempt = open_attempt(
        store, spec, 7, size="s", runner="nomad", host="", run="run-1", timeout=600.0
    )
    place.ok("register", "--dev", PENSTOCK_STORE=url)
    parent = contract.parent_id("penstock", "train", "s")
    digest = hashlib.sha256(encode_record(attempt)).hexdigest()
    payload = json.dumps({"root": url, "attempt": attempt.path, "digest": digest}).encode()
    meta = {"artifact_key": attempt.key, "attempt": "7", "run_id": "run-1"}
    body = {"Payload": base64.b64encode(payload).decode(), "Meta": meta}
    child = nomad_env.api.put(f"/v1/job/{parent}/dispatch", body)["DispatchedJobID"]

    def ended() -> bool:
        found = nomad_env.allocations(child)
        return bool(found) and found[0]["ClientStatus"] in ("complete", "failed")

    process.until(ended, "the dispatched job ended", 150)
    (allocation,) = nomad_env.allocations(child)
    said = nomad_env.logs(allocation["ID"], "job")
    errors = nomad_env.logs(allocation["ID"], "job", "stderr")
    assert allocation["ClientStatus"] == "complete", errors
    assert "the artifact is there already" in said
