from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from obstore.store import from_url

from tests.servers import process
from tests.servers.api import Api
from tests.servers.cluster import PROGRAMS, cluster
from tests.servers.fixtures import require
from tests.servers.jobs import output, shell_job, wait_for

READ_BOTH = """{{ with secret "secret/data/penstock/store" }}{{ .Data.data.access_key_id }}{{ end }}
{{ key "word" }}
"""


#: In one worker, so that there is one cluster for them.
together = pytest.mark.xdist_group("cluster")


def workload(name: str, script: str, **task: object) -> dict[str, object]:
    """A job that logs in to Vault as the work of penstock does, and prints what it got."""
    return shell_job(name, script, Vault={"Role": "penstock-job"}, **task)


@together
def test_a_workload_reads_vault_and_consul_and_registers(cluster_env):
    consul, nomad = cluster_env.consul, cluster_env.nomad
    consul.api.put("/v1/kv/word", "hello")
    template = {"EmbeddedTmpl": READ_BOTH, "DestPath": "secrets/both", "ChangeMode": "noop"}
    service = {"Name": "reader", "Provider": "consul", "AddressMode": "auto"}
    nomad.register(
        workload(
            "penstock-reader",
            "cat $NOMAD_SECRETS_DIR/both; exec sleep 60",
            Templates=[template],
            Services=[service],
        )
    )
    wait_for(nomad, "penstock-reader", "running")
    assert output(nomad, "penstock-reader").split() == [
        cluster_env.s3.environment["AWS_ACCESS_KEY_ID"],
        "hello",
    ]
    process.until(lambda: consul.api.get("/v1/health/service/reader?passing"), "registered")


@together
def test_a_workload_may_not_do_more_in_vault_than_its_policy_says(cluster_env):
    nomad, vault = cluster_env.nomad, cluster_env.vault
    nomad.register(workload("penstock-token", "cat $NOMAD_SECRETS_DIR/vault_token; exec sleep 60"))
    wait_for(nomad, "penstock-token", "running")
    task = Api(vault.address, {"X-Vault-Token": output(nomad, "penstock-token")})
    about = task.get("/v1/auth/token/lookup-self")["data"]
    assert about["meta"]["nomad_job_id"] == "penstock-token"
    assert "penstock-job" in about["policies"]
    assert task.get("/v1/secret/data/penstock/store")["data"]["data"]["secret_access_key"]
    with pytest.raises(OSError, match="403"):
        task.put("/v1/secret/data/penstock/store", {"data": {}})


@together
def test_the_environment_reaches_the_store(cluster_env):
    assert "AWS_SECRET_ACCESS_KEY" not in cluster_env.environment
    found = cluster_env.vault.read("penstock/store")
    store = from_url(
        cluster_env.store,
        access_key_id=found["access_key_id"],
        secret_access_key=found["secret_access_key"],
    )
    store.put("here", b"1")
    assert bytes(store.get("here").bytes()) == b"1"


def test_with_acls_a_workload_gets_a_consul_token_for_its_own_keys(tmp_path):
    found = {name: require(name) for name in PROGRAMS}
    with cluster(found, tmp_path / "cluster", acl=True) as here:
        here.nomad.register(shell_job("own", "echo $CONSUL_TOKEN; exec sleep 60", Consul={}))
        wait_for(here.nomad, "own", "running")
        task = Api(here.consul.address, {"X-Consul-Token": output(here.nomad, "own")})
        own = task.get("/v1/acl/token/self")
        assert [role["Name"] for role in own["Roles"]] == ["nomad-tasks-default"]
        with pytest.raises(OSError, match="403"):
            task.put("/v1/kv/word", "mine")


COMMAND = [sys.executable, "-m", "tests.servers.dev", "--no-register", "--folder"]


def variables(file: Path) -> dict[str, str]:
    """What a shell has after `source file`, of the variables that the file names."""
    shown = subprocess.run(
        ["bash", "-c", 'source "$1" && env', "-", file],
        env={},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(line.split("=", 1) for line in shown.splitlines())


@pytest.fixture
def dev(tmp_path):
    """Starts `make dev` in a folder and waits until it is up."""
    for name in PROGRAMS:
        require(name)
    started: list[subprocess.Popen[bytes]] = []

    def start() -> tuple[subprocess.Popen[bytes], dict[str, str]]:
        log = tmp_path / f"log-{len(started)}"
        with log.open("wb") as file:
            child = subprocess.Popen([*COMMAND, tmp_path / "dev"], stdout=file, stderr=file)
        started.append(child)
        up = "Ctrl-C stops everything"
        process.until(lambda: up in log.read_text() or child.poll() is not None, "it is up", 100)
        assert up in log.read_text(), log.read_text()
        return child, variables(tmp_path / "dev" / "env")

    yield start
    for child in started:
        process.stop(child, grace=60)


@pytest.mark.timeout(240)
def test_the_dev_cluster_keeps_its_state_and_leaves_no_process(dev, tmp_path):
    child, found = dev()
    assert (tmp_path / "dev" / "env").stat().st_mode & 0o777 == 0o600
    consul = Api(found["CONSUL_HTTP_ADDR"])
    consul.put("/v1/kv/word", "kept")
    second = subprocess.run(child.args, capture_output=True, text=True, check=False)
    assert second.returncode == 75
    assert "another `make dev` runs" in second.stderr
    child.send_signal(signal.SIGINT)
    assert child.wait(90) == 0
    with pytest.raises(OSError, match="refused"):
        consul.get("/v1/kv/word?raw")
    child, found = dev()
    assert Api(found["CONSUL_HTTP_ADDR"]).get("/v1/kv/word?raw") == "kept"
    vault = Api(found["VAULT_ADDR"], {"X-Vault-Token": found["VAULT_TOKEN"]})
    assert vault.get("/v1/secret/data/penstock/store")["data"]["data"]["access_key_id"]
    child.terminate()
    assert child.wait(90) == 0
