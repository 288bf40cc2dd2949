"""Nomad, Consul, Vault and an S3 server that know each other, as a team's cluster does.

Consul and Vault are named in Nomad's configuration. Vault trusts the identities that Nomad signs for
its workloads, and holds what penstock reads there: credentials of the store, tokens of the
endpoint's clients. With ACLs, Consul trusts those identities too, and nobody does without a token.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.aliases.heads import scope
from registry.settings import Settings
from tests.servers import process
from tests.servers.consul import ConsulServer, consul_agent
from tests.servers.nomad import NomadServer, nomad_agent
from tests.servers.s3 import S3Server, s3_server
from tests.servers.vault import VaultServer, vault_server

PROGRAMS = ("nomad", "consul", "vault", "versitygw")
POLICIES = Path(__file__).parents[2] / "nomad" / "policies"
#: Below the mount `secret/` of Vault: what the policies of the project allow to read.
STORE_SECRET, TOKENS_SECRET = "penstock/store", "penstock/gateway"
#: Where servers listen unless told otherwise, so that their own tools find them.
USUAL_PORTS = {"nomad": 4646, "consul": 8500, "vault": 8200, "versitygw": 7070}


@dataclass(frozen=True)
class Cluster:
    """The four servers, running; `environment` is what a person's shell needs to use them."""

    nomad: NomadServer
    consul: ConsulServer
    vault: VaultServer
    s3: S3Server
    store: str
    #: The environment of heads in Consul and of roots in the store.
    name: str

    @property
    def environment(self) -> Mapping[str, str]:
        """All that a shell exports: addresses, tokens, and where the store's credentials are."""
        found = dict(self.nomad.environment) | dict(self.consul.environment)
        return found | dict(self.vault.environment) | self.settings | self.storage

    @property
    def settings(self) -> dict[str, str]:
        """Penstock's own settings: the store, the environment, where the credentials are."""
        return {
            "PENSTOCK_STORE": self.store,
            "PENSTOCK_ENVIRONMENT": self.name,
            "PENSTOCK_STORE_SECRET": f"vault:secret/{STORE_SECRET}",
        }

    @property
    def storage(self) -> dict[str, str]:
        """Where the S3 server is: nothing secret, fit for a job specification."""
        hidden = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        return {name: value for name, value in self.s3.environment.items() if name not in hidden}

    @property
    def task_environment(self) -> dict[str, str]:
        """What tasks need beside what their job specification says; nothing secret."""
        return self.storage | {"CONSUL_HTTP_ADDR": self.consul.address}


@contextlib.contextmanager
def cluster(
    programs: Mapping[str, Path],
    folder: Path,
    *,
    acl: bool = False,
    persistent: bool = False,
    name: str = "dev/cluster",
    ports: Mapping[str, int] | None = None,
    **nomad: object,
) -> Iterator[Cluster]:
    """Run all four, connected to each other, while the block lasts.

    Args:
        programs: the program of each of `PROGRAMS`.
        folder: takes configuration, logs and state of each; made where it is missing.
        acl: Nomad and Consul deny what no token allows; Consul trusts Nomad's workloads.
        persistent: keep the state in `folder` across restarts.
        name: the environment (PENSTOCK_ENVIRONMENT) that the cluster is for.
        ports: of the APIs, by program; free ones where it says nothing.
        nomad: goes to `nomad_agent`, such as `client={…}`.

    Raises:
        ServerFailedError: one of them did not start.
    """
    ports = ports or {}
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        s3 = stack.enter_context(
            s3_server(programs["versitygw"], folder / "s3", port=ports.get("versitygw"))
        )
        consul = stack.enter_context(
            consul_agent(
                programs["consul"],
                folder / "consul",
                acl=acl,
                persistent=persistent,
                port=ports.get("consul"),
            )
        )
        vault = stack.enter_context(
            vault_server(
                programs["vault"], folder / "vault", dev=not persistent, port=ports.get("vault")
            )
        )
        agent = stack.enter_context(
            nomad_agent(
                programs["nomad"],
                folder / "nomad",
                consul=consul,
                vault=vault,
                acl=acl,
                persistent=persistent,
                port=ports.get("nomad"),
                **nomad,  # type: ignore[arg-type]
            )
        )
        here = Cluster(agent, consul, vault, s3, s3.url("store"), name)
        _deposit(vault, s3)
        _open_vault(vault, agent)
        if acl:
            _open_consul(here)
        yield here


def _open_vault(vault: VaultServer, nomad: NomadServer) -> None:
    """Let workloads of Nomad log in to Vault, with the roles and policies that the project ships."""
    vault.trust_nomad(nomad.address, nomad.ca_file)
    for file in sorted((POLICIES / "vault").glob("*.hcl")):
        vault.policy(file.stem, file.read_text())
    for file in sorted((POLICIES / "vault").glob("*.role.json")):
        vault.write_workload_role(file.name.partition(".")[0], json.loads(file.read_text()))


def _open_consul(here: Cluster) -> None:
    """Let workloads of Nomad log in to Consul, with the rights that the project ships."""
    keys = scope(Settings.load({}, store=here.store, environment=here.name))
    names = ("pipeline", "serving")
    for name in names:
        rules = (POLICIES / "consul" / f"{name}.hcl").read_text()
        here.consul.policy(f"penstock-{name}", rules.replace("SCOPE", keys))
    tasks = [f"penstock-{name}" for name in names]
    here.consul.trust_nomad(here.nomad.address, tasks=tasks, ca_file=here.nomad.ca_file)


def _deposit(vault: VaultServer, s3: S3Server) -> None:
    """Put the credentials of the store and a client's token where penstock reads them."""
    vault.write(
        STORE_SECRET,
        access_key_id=s3.environment["AWS_ACCESS_KEY_ID"],
        secret_access_key=s3.environment["AWS_SECRET_ACCESS_KEY"],
    )
    if not vault.holds(TOKENS_SECRET):
        vault.write(TOKENS_SECRET, dev=secrets.token_hex(16))


def usual_ports() -> dict[str, int]:
    """The usual port of each program, where nobody else holds it."""
    return {name: port for name, port in USUAL_PORTS.items() if process.is_free(port)}
