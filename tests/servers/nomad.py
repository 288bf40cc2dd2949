"""A Nomad of one node: in memory, in one process; or with its state on disk, in two."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.servers import nomad_settings, process, remains
from tests.servers.api import Api, ApiError
from tests.servers.consul import ConsulServer
from tests.servers.nomad_settings import Ports, Wiring
from tests.servers.process import Agent
from tests.servers.vault import VaultServer

#: In the environment of agents and, through them, of their tasks: names the folder they belong to.
MARK = "TEST_SERVER_FOLDER"


@dataclass
class NomadServer:
    """A Nomad of one node; `environment` is what a client needs to reach it.

    In memory, `server` and `client` are one process, and a restart forgets everything. `start`,
    `stop`, `kill` and `restart` act on all of it, `nomad.client.kill()` on what runs the tasks.
    """

    program: Path
    folder: Path
    ports: Ports
    wiring: Wiring
    token: str | None = None
    server: Agent = field(init=False)
    client: Agent = field(init=False)

    @property
    def address(self) -> str:
        """Where the HTTP API answers."""
        return f"{'https' if self.wiring.tls else 'http'}://127.0.0.1:{self.ports.http}"

    @property
    def ca_file(self) -> Path | None:
        """The certificate of the authority that vouches for the server; None without TLS."""
        return self.wiring.tls / "nomad-agent-ca.pem" if self.wiring.tls else None

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that Nomad's clients read: address, management token, authority."""
        found = {"NOMAD_ADDR": self.address}
        if self.token:
            found["NOMAD_TOKEN"] = self.token
        if self.ca_file:
            found["NOMAD_CACERT"] = str(self.ca_file)
        return found

    @property
    def api(self) -> Api:
        """The HTTP API, with the management token."""
        headers = {"X-Nomad-Token": self.token} if self.token else {}
        return Api(self.address, headers, self.ca_file)

    @property
    def agents(self) -> list[Agent]:
        """The processes, in the order in which they start."""
        return [self.server] if self.server is self.client else [self.server, self.client]

    def start(self) -> None:
        """Start all of it (again) at the same address and wait until tasks can be placed."""
        for agent in self.agents:
            if not agent.running:
                agent.start()
        if self.token:
            process.until(self._bootstrap, "the ACL system of Nomad")
        process.until(self._takes_tasks, f"a node that takes tasks at {self.address}")

    def stop(self) -> None:
        """End it as an operator would; tasks go on where there is state to find them again."""
        for agent in reversed(self.agents):
            agent.stop()

    def kill(self) -> None:
        """End it without warning; tasks go on."""
        for agent in self.agents:
            agent.kill()

    def restart(self) -> None:
        """Stop and start; in memory, that forgets everything."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End it for good, and every process of its tasks."""
        self.stop()
        remains.reap(f"{MARK}={self.folder}")
        remains.unmount(self.folder)

    def cli(self, *words: str, stdin: str | None = None) -> str:
        """What `nomad <words>` prints, asked as the management token's owner.

        Raises:
            subprocess.CalledProcessError: it failed; `stderr` says why.
        """
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        done = subprocess.run(
            [self.program, *words],
            env=kept | dict(self.environment),
            input=stdin,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout

    def register(self, job: Mapping[str, Any]) -> None:
        """Register a job given in the form of Nomad's JSON API (the value of `Job`)."""
        self.api.put("/v1/jobs", {"Job": job})

    def allocations(self, job: str) -> list[dict[str, Any]]:
        """The allocations of the job, newest first."""
        found = self.api.get(f"/v1/job/{quote(job, safe='')}/allocations")
        return sorted(found, key=lambda allocation: -allocation["CreateIndex"])

    def logs(self, allocation: str, task: str, stream: str = "stdout") -> str:
        """All that a task printed so far."""
        path = f"/v1/client/fs/logs/{allocation}?task={task}&type={stream}&plain=true"
        return str(self.api.get(path))

    def policy(self, name: str, rules: str, **job: str) -> None:
        """Create the ACL policy `name` from rules in HCL.

        Args:
            name: as tokens name it.
            rules: in HCL.
            job: the workload that has it by its identity: `Namespace`, `JobID`, `Group`, `Task`.
        """
        body = {"Name": name, "Rules": rules} | ({"JobACL": job} if job else {})
        self.api.post(f"/v1/acl/policy/{name}", body)

    def make_token(self, *policies: str) -> str:
        """A new client token that may do what the named policies allow."""
        body = {"Type": "client", "Name": "test", "Policies": policies}
        return str(self.api.post("/v1/acl/token", body)["SecretID"])

    def forget(self) -> None:
        """Stop and purge every job, and wait until no task runs, so that a next test finds none."""
        jobs = self.api.get("/v1/jobs?namespace=*")
        for job in jobs:
            space = quote(job["Namespace"])
            self.api.delete(f"/v1/job/{quote(job['ID'], safe='')}?purge=true&namespace={space}")
        if jobs:
            process.until(lambda: not self.live_allocations(), "tasks stopped")

    def live_allocations(self) -> list[str]:
        """The ids of allocations that run or are about to, in all namespaces."""
        found = self.api.get("/v1/allocations?namespace=*")
        return [each["ID"] for each in found if each["ClientStatus"] in {"pending", "running"}]

    def _bootstrap(self) -> bool:
        try:
            self.api.post("/v1/acl/bootstrap", {"BootstrapSecret": self.token})
        except ApiError as error:
            if "already" not in str(error):
                raise
        return True

    def _takes_tasks(self) -> bool:
        for node in self.api.get("/v1/nodes"):
            driver = node["Drivers"].get("raw_exec", {})
            if node["Status"] == "ready" and driver.get("Healthy") and self._is_wired(node["ID"]):
                return True
        return False

    def _is_wired(self, node: str) -> bool:
        attributes = self.api.get(f"/v1/node/{node}")["Attributes"]
        wanted = {"consul.version": self.wiring.consul, "vault.version": self.wiring.vault}
        return all(name in attributes for name, server in wanted.items() if server)


@contextlib.contextmanager
def nomad_agent(
    program: Path,
    folder: Path,
    *,
    consul: ConsulServer | None = None,
    consul_token: str | None = None,
    vault: VaultServer | None = None,
    acl: bool = False,
    tls: bool = False,
    persistent: bool = False,
    port: int | None = None,
    client: Mapping[str, Any] | None = None,
    server: Mapping[str, Any] | None = None,
) -> Iterator[NomadServer]:
    """Run a Nomad of one node while the block lasts; none of its tasks outlives the block.

    Args:
        program: the `nomad` to run.
        folder: takes configuration, logs and state; made where it is missing.
        consul: where services register and templates read; workload identity where it has ACLs.
        consul_token: the agent's own token there; the management token by default.
        vault: where workloads log in; see `VaultServer.trust_nomad`, to be called afterwards.
        acl: deny what no token allows; the management token is in `.environment`.
        tls: serve HTTPS under an authority of its own, `.ca_file`.
        persistent: keep the state in `folder` across restarts, which tasks survive; server and
            client are two processes then, to be killed one by one.
        port: of the HTTP API; a free one by default.
        client: laid over the client's part of the configuration, such as `memory_total_mb`.
        server: laid over the server's part, such as `heartbeat_grace` or `job_gc_threshold`.

    Raises:
        ServerFailedError: it did not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    certificates = folder / "tls" if tls else None
    if certificates:
        nomad_settings.make_certificates(program, certificates)
    wiring = Wiring(consul, consul_token, vault, acl, certificates)

    def make() -> NomadServer:
        token = process.kept_token(folder) if acl else None
        made = NomadServer(program, folder, Ports.free(folder / "ports.json", port), wiring, token)
        _wire(made, persistent, client or {}, server or {})
        return made

    nomad = process.on_free_ports(make)
    try:
        yield nomad
    finally:
        nomad.close()


def _wire(
    nomad: NomadServer, persistent: bool, client: Mapping[str, Any], server: Mapping[str, Any]
) -> None:
    """Give `nomad` its agents: one in memory, or two that keep their state.

    One process with a state would register its node before it can sign the node's identity, and try
    again half a minute later.
    """
    own = nomad_settings.server(server)
    if not persistent:
        own |= nomad_settings.client(nomad.folder, [], client)
        nomad.server = nomad.client = _agent(nomad, "nomad", nomad.ports, own, ["-dev"])
        return
    nomad.server = _agent(nomad, "server", nomad.ports, own)
    ports = Ports.free(nomad.folder / "ports-client.json")
    own = nomad_settings.client(nomad.folder, [f"127.0.0.1:{nomad.ports.rpc}"], client)
    nomad.client = _agent(nomad, "client", ports, own)


def _agent(
    nomad: NomadServer, name: str, ports: Ports, part: Mapping[str, Any], mode: Sequence[str] = ()
) -> Agent:
    settings = nomad_settings.settings(nomad.folder, ports, nomad.wiring) | dict(part)
    if not mode:
        settings["data_dir"] = str(nomad.folder / f"{name}-data")
    config = nomad.folder / f"{name}.json"
    config.touch(0o600)
    config.write_text(json.dumps(settings))
    api = Api(f"{nomad.address.partition(':')[0]}://127.0.0.1:{ports.http}", {}, nomad.ca_file)
    return Agent(
        [nomad.program, "agent", *mode, "-config", config],
        log=nomad.folder / f"{name}.log",
        ready=lambda: _is_healthy(api),
        env={MARK: str(nomad.folder)},
        port=ports.http,
    )


def _is_healthy(api: Api) -> bool:
    """Whether what the agent is works: a server leads and can sign, a client knows a server."""
    try:
        health = api.get("/v1/agent/health")
        signs = "client" in health or api.get("/.well-known/jwks.json")["keys"]
    except ApiError:  # 500 while there is no leader, or no server to talk to
        return False
    return bool(signs) and all(part["ok"] for part in health.values())
