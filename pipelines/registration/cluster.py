"""What registration asks of Nomad: parse, plan, register, follow a deployment.

Replies are Nomad's own JSON, since specifications pass through as they are. Parsing is the
agent's: another parser of HCL would be another language.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import requests
from nomad.api.exceptions import BaseNomadException

from pipelines.registration.specs import Spec
from pipelines.runners.nomad.client import ANSWER, CONNECT, NomadClient
from pipelines.runners.nomad.errors import NomadAway, NomadRefused
from pipelines.runners.nomad.transport import Access
from registry.errors import BadData, ConfigError, NotFound, PenstockError, Temporary
from registry.settings import Settings

Document = dict[str, Any]


def batch_cluster(env: Mapping[str, str] = os.environ) -> Cluster:
    """The cluster of pipelines and their work, at NOMAD_ADDR. Raises ConfigError."""
    if not env.get("NOMAD_ADDR"):
        raise ConfigError(
            "there is no cluster to register with",
            "NOMAD_ADDR is not set",
            "Set it to the address of Nomad; `make dev` starts one for development.",
        )
    return Cluster(Access.of(env))


def service_cluster(settings: Settings, env: Mapping[str, str] = os.environ) -> Cluster:
    """The cluster of services: at PENSTOCK_SERVICES_NOMAD_ADDR, else NOMAD_ADDR."""
    own = settings.services_nomad_addr
    return batch_cluster({**env, "NOMAD_ADDR": own} if own else env)


class Cluster(NomadClient):
    """One Nomad, as registration sees it. What it raises: NomadAway, NomadRefused, and below."""

    def parse(self, spec: Spec, variables: str) -> Document:
        """The job that a specification makes with the content of a file of variables.

        Raises:
            BadData: Nomad cannot parse it; says where.
        """
        body = {"JobHCL": spec.text, "Variables": variables, "Canonicalize": False}
        try:
            return self._post("parse jobs", "parse-job", self._api.jobs, "parse", json=body)
        except BadData as error:
            raise BadData(f"{spec.path.name} cannot be parsed", error.why) from None

    def plan(self, job: Document) -> Document:
        """What registering would change, `JobModifyIndex` included. Raises BadData."""
        body = {"Job": job, "Diff": True}
        return self._post("plan jobs", "plan-job", self._api.job, job["ID"], "plan", json=body)

    def register(self, job: Document, index: int) -> Document:
        """Register, unless the job changed since the plan that gave `index` (0: there is none).

        Raises:
            Temporary: it did change.
            BadData: Nomad does not accept it.
        """
        body = {"Job": job, "EnforceIndex": True, "JobModifyIndex": index}
        try:
            return self._post("register jobs", "register-job", self._api.jobs, json=body)
        except BadData as error:
            if "job modify index" not in error.why:
                raise
            raise Temporary(
                f"{job['ID']} was registered by somebody else meanwhile",
                error.why,
                "Look at the difference again and repeat it.",
            ) from None

    def service(self, name: str) -> Document:
        """A registered job, whole. Raises NotFound."""
        return dict(self._read(self._api.job, name))

    def versions(self, name: str) -> list[Document]:
        """The versions of a job that Nomad remembers, newest first. Raises NotFound."""
        return list(self._read(self._api.job, name, "versions")["Versions"])

    def deployments(self, name: str) -> list[Document]:
        """The deployments of a job, newest first; none of a job that is not there."""
        found = self._read(self._api.job, name, "deployments") or ()
        return sorted(found, key=lambda each: -int(each["CreateIndex"]))

    def evaluations_of(self, name: str) -> list[Document]:
        """What the scheduler did about a job."""
        return list(self._read(self._api.job, name, "evaluations") or ())

    def shortages(self, name: str) -> list[str]:
        """Why instances of a job are not placed, as the scheduler says; empty where they are."""
        found = (each.get("FailedTGAllocs") or {} for each in self.evaluations_of(name))
        return sorted({f"group {group} is not placed: {_lack(metric)}"
                       for groups in found for group, metric in groups.items()})  # fmt: skip

    def deployed(self, deployment: str) -> list[Document]:
        """The allocations of a deployment."""
        return list(self._read(self._api.deployment, "allocations", deployment) or ())

    def checks(self, allocation: str) -> Document:
        """What the checks of an allocation said, where Nomad itself makes them."""
        found = self._read(self._api.client.allocation, allocation, "checks")
        return found or {}

    def promote(self, deployment: str) -> None:
        """Let the canaries of a deployment take the place of the rest."""
        body = {"DeploymentID": deployment, "All": True}
        self._post("promote deployments", "promote-deployment", self._api.deployment,
                  "promote", deployment, json=body)  # fmt: skip

    def fail(self, deployment: str) -> None:
        """End a deployment; its job goes back to the last version that was healthy."""
        self._post("fail deployments", "fail-deployment", self._api.deployment,
                  "fail", deployment, json={"DeploymentID": deployment})  # fmt: skip

    def revert(self, name: str, version: int, present: int) -> Document:
        """Register an earlier version again, unless `present` is not the present one any more."""
        body = {"JobID": name, "JobVersion": version, "EnforcePriorVersion": present}
        return self._post("revert jobs", "revert-job", self._api.job, name, "revert", json=body)

    def _post(
        self, what: str, capability: str, endpoint: Any, *path: str, json: Document
    ) -> Document:
        return dict(self._ask(what, capability, endpoint, *path, method="post", json=json))

    def _read(self, endpoint: Any, *path: str) -> Any:
        return self._ask("read jobs", "read-job", endpoint, *path, method="get")

    def _ask(
        self, what: str, capability: str, endpoint: Any, *path: str,
        method: str, json: Document | None = None,
    ) -> Any:  # fmt: skip
        params = {"namespace": self.access.namespace}
        try:
            reply = endpoint.request(
                *path, method=method, params=params, json=json, timeout=(CONNECT, ANSWER)
            )
            return reply.json()
        except BaseNomadException as error:
            raise self._told(what, capability, error.nomad_resp) from None
        except requests.JSONDecodeError as error:  # a proxy's page
            raise NomadAway(f"its reply is no JSON: {error}") from None

    def _told(self, what: str, capability: str, reply: Any) -> PenstockError:
        if not isinstance(reply, requests.Response):
            return NomadAway(" ".join(str(reply).split())[:300])
        text = reply.text.strip()
        if reply.status_code == 403 or "Permission denied" in text:
            return NomadRefused(what, capability, self.access.namespace, bool(self.access.token))
        if reply.status_code == 404:
            return NotFound(f"cannot {what}: Nomad knows no such thing", text)
        if "No cluster leader" in text or reply.status_code in (429, 502, 503, 504):
            return NomadAway(text)
        return BadData(f"Nomad refused to {what}", text)


def _lack(metric: Document) -> str:
    short = [*(metric.get("DimensionExhausted") or {}), *(metric.get("ConstraintFiltered") or {})]
    return ", ".join(short) or "no node that could take it"
