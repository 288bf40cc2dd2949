"""Secrets nowhere: plant some, run and break everything on real servers, then look everywhere.

What is looked at: every object of the store and its name, the folders of pipeline, jobs and service,
their output at the most talkative log level, all answers of the endpoint with their headers, what
commands print when they fail, and the command lines of every process while all of that runs.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from registry.aliases import open_heads
from registry.artifacts.store import open_environment
from registry.settings import Settings
from tests.integration import smallrun
from tests.integration.gateway import Gateway
from tests.integration.world import World
from tests.repository.tree import ROOT
from tests.servers.api import ApiError
from tests.servers.cluster import Cluster
from tests.servers.s3 import BUCKET, SECRET_KEY
from tests.servers.vault import VaultServer
from tests.serving import models
from tests.serving.rig import Publisher, descendants, service

ACCESS, SECRET = "CANARYACCESSKEY01", "canary/store+secret=0123456789"
WRONG = ("CANARYWRONGKEY001", "canary/wrong+secret=0123456789")
CLIENT, STRANGER = "canary-client-token-0123456789", "canary-stranger-token-01234567"
NOMAD, CONSUL = "canary-nomad-token-0123456789", "canary-consul-token-0123456789"


class Evidence:
    """What was seen, by where; looked through for secrets at the end."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self._stop = threading.Event()

    def add(self, where: str, text: str | bytes) -> None:
        self.seen.append((where, text.encode() if isinstance(text, str) else text))

    def add_folder(self, folder: Path) -> None:
        """Names and contents of all that lies below."""
        for path in folder.rglob("*"):
            self.add("a name", str(path.relative_to(folder)))
            if path.is_file() and not path.is_symlink():
                self.add(str(path), path.read_bytes())

    @contextmanager
    def command_lines(self) -> Iterator[None]:
        """Note the command lines of all descendants of this process while the block lasts."""
        found: set[bytes] = set()
        thread = threading.Thread(target=self._watch, args=(found,))
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()
            assert any(b"jobs" in line or b"smalljob" in line for line in found)
            self.seen += [("a command line", line) for line in found]

    def _watch(self, found: set[bytes]) -> None:
        while not self._stop.wait(0.1):
            for pid in [os.getpid(), *descendants(os.getpid())]:
                try:
                    found.add(Path(f"/proc/{pid}/cmdline").read_bytes())
                except OSError:  # it has ended
                    continue

    def assert_none_of(self, canaries: Mapping[str, str]) -> None:
        """No canary occurs: as it is, quoted for a URL, or in base64."""
        for name, canary in canaries.items():
            forms = {canary.encode(), quote(canary, safe="").encode(), _base64(canary)}
            found = [where for where, text in self.seen if any(form in text for form in forms)]
            assert not found, f"{name} is in {sorted(set(found))}"


def _base64(text: str) -> bytes:
    # Whole groups of three only: what follows them changes the rest.
    return base64.b64encode(text.encode()[: len(text) // 3 * 3])


def test_a_canary_that_is_there_is_found():
    evidence = Evidence()
    evidence.add("a log", f"token {base64.b64encode(CLIENT.encode()).decode()}")
    with pytest.raises(AssertionError, match=r"client is in .*a log"):
        evidence.assert_none_of({"client": CLIENT})


@pytest.mark.timeout(240)
def test_secrets_are_nowhere(vault_server: VaultServer, tmp_path: Path):
    evidence, gateway = Evidence(), Gateway.below(tmp_path / "gateway")
    for file in (ROOT / "nomad/policies/vault").glob("*.hcl"):
        vault_server.policy(file.stem, file.read_text())
    vault_server.write("penstock/store", access_key_id=ACCESS, secret_access_key=SECRET)
    vault_server.write("penstock/gateway", billing=CLIENT)
    token = vault_server.make_token("penstock-serving")
    env = environment(gateway, vault_server, token)
    with evidence.command_lines():
        with gateway.running((ACCESS, SECRET)):
            run_pipeline(evidence, env, tmp_path, 0)
            ask_service(evidence, env, tmp_path)
            run_commands(evidence, env, tmp_path, WELL)
            # Other credentials, then none that may be read.
            wrong = {"access_key_id": WRONG[0], "secret_access_key": WRONG[1]}
            vault_server.write("penstock/store", **wrong)
            run_pipeline(evidence, env, tmp_path / "wrong", 74)
            run_commands(evidence, env, tmp_path, TURNED_AWAY)
            run_pipeline(evidence, {**env, "VAULT_TOKEN": NOMAD}, tmp_path / "denied", 77)
        vault_server.write("penstock/store", access_key_id=ACCESS, secret_access_key=SECRET)
        run_commands(evidence, env, tmp_path, ALONE)
    for folder in ("gateway/buckets", "gateway/metadata", "var", "wrong", "denied", "service"):
        if (tmp_path / folder).exists():
            evidence.add_folder(tmp_path / folder)
    evidence.assert_none_of(
        {
            "the store's access key": ACCESS, "the store's secret": SECRET, "wrong key": WRONG[0],
            "wrong secret": WRONG[1], "the client's token": CLIENT, "a stranger's token": STRANGER,
            "Vault's token": token, "Nomad's token": NOMAD, "Consul's token": CONSUL,
        }
    )  # fmt: skip


def environment(gateway: Gateway, vault: VaultServer, token: str) -> dict[str, str]:
    """What pipeline, jobs, service and commands find: places, and the tokens of three tools."""
    return {
        "PENSTOCK_STORE": f"s3://{BUCKET}/root",
        "PENSTOCK_ENVIRONMENT": "dev/test",
        "PENSTOCK_STORE_SECRET": "vault:secret/penstock/store",
        "PENSTOCK_SERVING_TOKENS": "vault:secret/penstock/gateway",
        "AWS_ENDPOINT_URL": gateway.server.endpoint,
        "AWS_REGION": "us-east-1",
        "VAULT_ADDR": vault.address,
        "VAULT_TOKEN": token,
        "NOMAD_TOKEN": NOMAD,
        "CONSUL_HTTP_TOKEN": CONSUL,
    }


def run_pipeline(evidence: Evidence, env: Mapping[str, str], folder: Path, code: int) -> None:
    run = smallrun.start("here", folder, env, "publish" if code == 0 else "ingest")
    out, _ = run.communicate(timeout=200)
    evidence.add("the output of a pipeline", out)
    assert run.returncode == code, out
    assert code == 0 or "vault" in out.lower(), out  # it says whose fault it is


#: While all is well, while the store turns the credentials away, while it is down.
WELL = ("doctor --json", "runs", "models", "promote small@champion 0123456789abcdef --why test")
TURNED_AWAY = ("--debug doctor", "--debug models")
ALONE = ("--debug runs", "plan flights --date 2013-02-10")


def run_commands(
    evidence: Evidence, env: Mapping[str, str], folder: Path, commands: Sequence[str]
) -> None:
    own = {**os.environ, "PENSTOCK_VAR": str(folder / "var"), **env}
    for words in commands:
        done = subprocess.run(
            [sys.executable, "-m", "penstock", *words.split()],
            cwd=folder, env=own, capture_output=True, check=False,
        )  # fmt: skip
        evidence.add(f"the output of {words}", done.stdout + done.stderr)


class Cloud(Publisher):
    """Publishes to the store of `env` and to heads in files."""

    def __init__(self, env: Mapping[str, str], var: Path) -> None:
        self.environment = {**env, "PENSTOCK_VAR": str(var)}
        settings = Settings.load(self.environment)
        with pytest.MonkeyPatch.context() as patch:
            for name in ("AWS_ENDPOINT_URL", "AWS_REGION", "VAULT_ADDR", "VAULT_TOKEN"):
                patch.setenv(name, env[name])
            self.store = open_environment(settings)
            self._revisions = {}
            self.heads = open_heads(settings)
            folder = var.parent / "bundle"
            models.train(folder, flavor="lightgbm", seed=1)
            self.publish("flights", folder)


def ask_service(evidence: Evidence, env: Mapping[str, str], folder: Path) -> None:
    publisher = Cloud(env, folder / "var")
    with service(publisher, folder / "service", "flights", log_level="debug") as running:
        known = {"authorization": f"Bearer {CLIENT}"}
        for headers in (known, {"authorization": f"Bearer {STRANGER}"}, {}):
            for path in (
                "/",
                "/metrics",
                "/v2",
                "/v2/models/flights",
                "/nothing",
                f"/{quote('ü')}",
            ):
                note(evidence, running.client.get(running.url + path, headers=headers))
            for body in (b"{", b'{"inputs": 3}', b'{"dataframe_records": [{}]}'):
                url = f"{running.url}/invocations"
                note(evidence, running.client.post(url, content=body, headers=headers))
        answer = running.client.get(f"{running.url}/v2", headers=known)
        assert answer.status_code == 200
        assert running.client.get(f"{running.url}/v2").status_code == 401


def note(evidence: Evidence, answer: httpx.Response) -> None:
    evidence.add(f"the answer to {answer.request.url.path}", answer.content)
    evidence.add(f"the headers of {answer.request.url.path}", str(answer.headers))


@pytest.mark.timeout(240)
def test_secrets_are_in_nothing_that_nomad_or_consul_hold(cluster_env: Cluster, tmp_path: Path):
    """A run on a cluster: job specifications, dispatches, allocations, logs, keys."""
    evidence, here = Evidence(), cluster_env
    world = World(here.nomad, tmp_path, here.environment, here.store)
    world.register("s", kinds=("ingest",), vault=True, env=here.task_environment)
    run = smallrun.start("nomad", tmp_path / "pipeline", here.environment, "ingest")
    out, _ = run.communicate(timeout=200)
    assert run.returncode == 0, out
    evidence.add("the output of the pipeline", out)
    for path in nomad_paths(here):
        with contextlib.suppress(ApiError):  # gone since it was listed, or never there
            answer = here.nomad.api.get(path)
            evidence.add(path, answer if isinstance(answer, str) else json.dumps(answer))
    with contextlib.suppress(ApiError):  # there is no key
        for pair in here.consul.api.get("/v1/kv/?recurse"):
            evidence.add(pair["Key"], base64.b64decode(pair["Value"] or ""))
    evidence.add_folder(here.s3.folder / "buckets")
    assert any("/logs/" in where for where, _ in evidence.seen)
    evidence.assert_none_of(
        {
            "the store's secret": SECRET_KEY,
            "Vault's token": here.vault.token,
            "a client's token": here.vault.read("penstock/gateway")["dev"],
        }
    )


def nomad_paths(here: Cluster) -> list[str]:
    """What the API of Nomad tells of jobs, their children, and what became of these."""
    api = here.nomad.api
    found = ["/v1/jobs?meta=true", "/v1/allocations", "/v1/evaluations"]
    for job in api.get("/v1/jobs"):
        name = quote(job["ID"], safe="")
        found += [f"/v1/job/{name}", f"/v1/job/{name}/submission?version=0"]
    for allocation in api.get("/v1/allocations"):
        about = allocation["ID"]
        found.append(f"/v1/allocation/{about}")
        found += [
            f"/v1/client/fs/logs/{about}?task=job&type={kind}&plain=true"
            for kind in ("stdout", "stderr")
        ]
    return found
