"""Every specification, filled in, as a real Nomad sees it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest

from pipelines.registration.wanted import KINDS
from pipelines.runners.sizes import SIZES
from tests.jobspecs import rig
from tests.servers import fixtures

SECOND = 1_000_000_000
VAULT: dict[str, Any] = {
    "vault": True,
    "vault_role": "a-role",
    "vault_store": "secret/data/somewhere",
}


@pytest.mark.parametrize("driver", rig.DRIVERS)
def test_work_of_every_kind_and_size_is_valid(nomad_server, driver):
    for kind, size in product(KINDS, SIZES):
        job = rig.parsed(nomad_server, "job", driver, kind=kind, size=size)
        assert rig.faults(nomad_server, job) == "", (kind, size)
        assert job["ID"] == job["Name"] == f"penstock-{kind}-{size}"


@pytest.mark.parametrize("vault", [{}, VAULT], ids=["plain", "vault"])
@pytest.mark.parametrize("driver", rig.DRIVERS)
@pytest.mark.parametrize("size", SIZES)
def test_nomad_job_validate_accepts_the_work(driver, size, vault):
    assert rig.validate(fixtures.require("nomad"), "job", driver, size=size, **vault) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_nomad_job_validate_accepts_every_kind(kind):
    assert rig.validate(fixtures.require("nomad"), "job", kind=kind, **VAULT) == ""


@pytest.mark.parametrize("more", [{}, VAULT | {"consul": True}], ids=["plain", "vault"])
@pytest.mark.parametrize("driver", rig.DRIVERS)
@pytest.mark.parametrize("name", ["pipeline", "serving"])
def test_nomad_job_validate_accepts_the_rest(driver, name, more):
    assert rig.validate(fixtures.require("nomad"), name, driver, **more) == ""


@pytest.mark.parametrize("provider", ["nomad", "consul"])
@pytest.mark.parametrize("driver", rig.DRIVERS)
def test_an_agent_accepts_the_rest(nomad_server, driver, provider):
    serving = rig.parsed(nomad_server, "serving", driver, provider=provider)
    assert rig.faults(nomad_server, serving) == ""
    assert rig.faults(nomad_server, rig.parsed(nomad_server, "pipeline", driver)) == ""


def test_what_is_wrong_is_seen():
    program = fixtures.require("nomad")
    assert "Invalid cron spec" in rig.validate(program, "pipeline", crons=["never"])
    assert "progress deadline" in rig.validate(program, "serving", progress_deadline="1m")
    assert "Invalid index" in rig.validate(program, "job", size="xxl")


def test_nomad_never_repeats_the_work(nomad_server):
    for size in SIZES:
        (group,) = rig.parsed(nomad_server, "job", size=size)["TaskGroups"]
        assert group["RestartPolicy"]["Attempts"] == 0
        assert group["RestartPolicy"]["Mode"] == "fail"
        assert group["ReschedulePolicy"]["Attempts"] == 0
        assert group["ReschedulePolicy"]["Unlimited"] is False


def test_both_drivers_run_the_same_words(nomad_server):
    for name in rig.NEEDED:
        docker, program = (rig.task_of(rig.parsed(nomad_server, name, d)) for d in rig.DRIVERS)
        assert docker["Config"]["args"] == program["Config"]["args"]
        assert docker["Config"]["image"] == rig.DRIVERS["docker"]["image"]
        assert docker["Config"]["entrypoint"] == ["tini", "--", "python"]
        assert program["Config"]["command"] == "/opt/python"
        assert program["Config"]["work_dir"] == "/opt/penstock"
        differ = {"PENSTOCK_SERVING_HOST"} if name == "serving" else set()
        assert {each for each, _ in docker["Env"].items() ^ program["Env"].items()} == differ


def test_the_size_decides_the_resources(nomad_server):
    wanted = rig.task_of(rig.parsed(nomad_server, "job", size="l", cpu_mhz=2500))["Resources"]
    assert (wanted["CPU"], wanted["MemoryMB"], wanted["Devices"]) == (5000, 8192, None)
    gpu = rig.task_of(rig.parsed(nomad_server, "job", size="gpu"))["Resources"]
    assert [(each["Name"], each["Count"]) for each in gpu["Devices"]] == [("nvidia/gpu", 1)]


def test_variables_of_the_environment_are_added(nomad_server):
    more: dict[str, Any] = {"env": {"AWS_ENDPOINT_URL": "http://s3:9000", "ODD": 'a "b" ${c} %{d}'}}
    for name in rig.NEEDED:
        found = rig.task_of(rig.parsed(nomad_server, name, **more))["Env"]
        assert more["env"].items() <= found.items()
        assert found["PENSTOCK_STORE"] == rig.COMMON["store"]


def test_secrets_come_from_vault_into_files_of_the_task(tmp_path, nomad_server):
    for name in rig.NEEDED:
        plain = rig.task_of(rig.parsed(nomad_server, name))
        assert not plain["Vault"]
        assert not plain["Templates"]
        assert "PENSTOCK_STORE_SECRET" not in plain["Env"]
        task = rig.task_of(rig.parsed(nomad_server, name, **VAULT))
        assert task["Vault"]["Role"] == "a-role"
        assert (task["Vault"]["Env"], task["Vault"]["DisableFile"]) == (False, True)
        (template,) = task["Templates"]
        assert template["DestPath"] == "${NOMAD_SECRETS_DIR}/store.json"
        assert template["ChangeMode"] == "noop"
        assert 'secret "secret/data/somewhere"' in template["EmbeddedTmpl"]
        assert task["Env"]["PENSTOCK_STORE_SECRET"] == f"file:{template['DestPath']}"


def test_a_service_gets_its_tokens_the_same_way(nomad_server):
    more = {**VAULT, "vault_tokens": "secret/data/tokens"}
    task = rig.task_of(rig.parsed(nomad_server, "serving", **more))
    files = {template["DestPath"] for template in task["Templates"]}
    assert files == {f"${{NOMAD_SECRETS_DIR}}/{name}.json" for name in ("store", "tokens")}
    assert task["Env"]["PENSTOCK_SERVING_TOKENS"] == "file:${NOMAD_SECRETS_DIR}/tokens.json"


def test_the_pipeline_runs_on_a_schedule_of_its_own(nomad_server):
    job = rig.parsed(nomad_server, "pipeline", lag="2d", crons=["0 */3 * * *"])
    periodic, (group,) = job["Periodic"], job["TaskGroups"]
    assert periodic["Specs"] == ["0 */3 * * *"]
    assert periodic["ProhibitOverlap"]
    assert periodic["TimeZone"] == "UTC"
    assert group["RestartPolicy"]["Attempts"] > 0
    task = rig.task_of(job)
    assert task["Config"]["args"] == [
        "-m", "penstock", "schedule", "flights", "--once",
        "--deadline", "3h", "--catch-up", "7", "--lag", "2d",
    ]  # fmt: skip
    assert task["Identity"]["Env"]
    assert task["Env"]["PENSTOCK_NOMAD_PREFIX"] == "penstock"


def test_a_service_drains_before_it_is_killed(nomad_server):
    job = rig.parsed(nomad_server, "serving")
    (group,), task = job["TaskGroups"], rig.task_of(job)
    assert task["KillTimeout"] > int(task["Env"]["PENSTOCK_SERVING_DRAIN_TIMEOUT"]) * SECOND
    assert task["KillTimeout"] <= 30 * SECOND, "beyond the nodes' own limit"
    assert group["ShutdownDelay"] > 0
    assert task["KillSignal"] == "SIGTERM"
    assert task["Config"]["args"][-2:] == ["flights@champion", "churn"]


def test_a_service_is_checked_and_reverted(nomad_server):
    (group,) = rig.parsed(nomad_server, "serving")["TaskGroups"]
    update, (service,) = group["Update"], group["Services"]
    assert (update["Canary"], update["AutoRevert"], update["AutoPromote"]) == (1, True, False)
    assert update["ProgressDeadline"] == 0, "the first unhealthy instance ends it"
    assert service["CanaryTags"] == ["canary"]
    checks: Mapping[str, Any] = {check["Name"]: check for check in service["Checks"]}
    assert {name: check["Path"] for name, check in checks.items()} == {
        "live": "/v2/health/live",
        "ready": "/v2/health/ready",
    }
    assert checks["live"]["CheckRestart"]["Limit"] > 0
    assert not checks["ready"]["CheckRestart"], "waiting for a model is no reason to start again"
