"""A rollout: the deployment of one registration of a service, followed to its end.

A deployment belongs to the version of the job that it brings. It waits for its canaries; healthy,
they are promoted by somebody; an instance that does not become healthy fails it, and Nomad
registers the last healthy version again (`auto_revert`), which is a deployment of its own.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from pipelines.registration.cluster import Cluster, Document
from pipelines.registration.unhealthy import reasons
from pipelines.runners.nomad.errors import NomadAway
from registry.errors import Refused, Temporary

Outcome = Literal["promoted", "waiting", "reverted", "replaced", "nothing"]
#: Seconds between two looks at a deployment.
EVERY = 1.0
#: States of a deployment that it leaves by itself or by somebody's hand.
_OPEN = ("running", "pending", "initializing", "blocked", "unblocking", "paused")


@dataclass
class Progress:
    """Where a rollout stands: how many instances are healthy, of how many, and who they are."""

    deployment: str
    status: str
    text: str
    canaries: int
    desired_canaries: int
    placed: int
    healthy: int
    desired: int
    why: list[str] = field(default_factory=list)

    @property
    def awaits_promotion(self) -> bool:
        """Whether every canary is healthy, and somebody has to say that it may go on."""
        return self.status == "running" and 0 < self.desired_canaries <= self.canaries

    def __str__(self) -> str:
        text = f"{self.healthy} of {self.desired} new instances healthy"
        if self.desired_canaries:
            text = f"{self.canaries} of {self.desired_canaries} canaries healthy"
        return f"{text} ({self.why[0]})" if self.why and not self.placed else text


class Rollout:
    """The deployment that a registration of job `name` brought about.

    Args:
        index: the modify index of the job's specification, as the registration returned it.
        tell: called whenever the progress has changed.
    """

    def __init__(
        self, cluster: Cluster, name: str, index: int, tell: Callable[[Progress], None]
    ) -> None:
        self._cluster = cluster
        self._name = name
        self._index = index
        self._tell = tell
        self._said = ""
        self._why: dict[str, str] = {}

    def follow(self, timeout: float, *, promote: bool = False) -> tuple[Outcome, Progress | None]:
        """Wait until it is done, stuck, or in need of somebody.

        Args:
            timeout: seconds to wait.
            promote: let healthy canaries take over; otherwise return "waiting" then.

        Raises:
            Temporary: it is still going on after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            progress = self._look()
            if progress is None:
                if self._has_nothing_to_place():
                    return "nothing", None
            elif outcome := self._outcome(progress, promote=promote):
                return outcome, progress
            if time.monotonic() > deadline:
                raise self._late(timeout, progress)
            time.sleep(EVERY)

    def _outcome(self, progress: Progress, *, promote: bool) -> Outcome | None:
        if progress.awaits_promotion and not progress.text.startswith("auto"):
            if not promote:
                return "waiting"
            self._cluster.promote(progress.deployment)
        if progress.status == "successful":
            return "promoted"
        if progress.status in _OPEN:
            return None
        return "reverted" if progress.status == "failed" else "replaced"

    def _look(self) -> Progress | None:
        """The progress of this deployment; None while there is none. Nomad may be away a while."""
        try:
            found = self._cluster.deployments(self._name)
        except NomadAway:
            return None
        mine = [each for each in found if each["JobSpecModifyIndex"] == self._index]
        if not mine:
            return None
        progress = _progress(mine[0])
        if progress.status in (*_OPEN, "failed"):
            # Once reverted, the instances are gone; what was wrong is only to be seen before.
            self._why |= reasons(self._cluster, progress.deployment)
        progress.why = [f"{what}: {text}" for what, text in self._why.items() if text]
        if progress.status in _OPEN and not progress.placed:
            progress.why = self._cluster.shortages(self._name)
        if progress.status in _OPEN and str(progress) != self._said:
            self._said = str(progress)
            self._tell(progress)
        return progress

    def _has_nothing_to_place(self) -> bool:
        """Whether the scheduler has looked at this registration and had nothing to do."""
        try:
            found = self._cluster.evaluations_of(self._name)
        except NomadAway:
            return False
        mine = [each for each in found if each.get("JobModifyIndex") == self._index]
        done = bool(mine) and all(each["Status"] == "complete" for each in mine)
        return done and not any(each.get("DeploymentID") for each in mine)

    def _late(self, timeout: float, progress: Progress | None) -> Temporary:
        stands = str(progress) if progress else "it has not begun"
        return Temporary(
            f"the deployment of {self._name} still goes on after {timeout:.0f} s",
            "; ".join([stands, *(progress.why if progress and progress.placed else [])]),
            "It goes on without this command; repeat it to follow.",
        )


def _progress(deployment: Document) -> Progress:
    groups = list((deployment.get("TaskGroups") or {}).values())
    return Progress(
        deployment["ID"],
        deployment["Status"],
        deployment.get("StatusDescription") or "",
        canaries=sum(_healthy_canaries(group) for group in groups),
        desired_canaries=sum(
            0 if group.get("Promoted") or group.get("AutoPromote") else group["DesiredCanaries"]
            for group in groups
        ),
        placed=sum(group["PlacedAllocs"] for group in groups),
        healthy=sum(group["HealthyAllocs"] for group in groups),
        desired=sum(group["DesiredTotal"] for group in groups),
    )


def _healthy_canaries(group: Document) -> int:
    return min(int(group["HealthyAllocs"]), len(group.get("PlacedCanaries") or ()))


def present(cluster: Cluster, name: str) -> Document:
    """The deployment of `name` that is under way. Raises Refused where there is none."""
    found = cluster.deployments(name)
    if not found or found[0]["Status"] not in _OPEN:
        raise Refused(
            f"no deployment of {name} is under way",
            f"the last one is {found[0]['Status']}" if found else "there has been none",
            "`penstock deploy ALIAS` begins one.",
        )
    return found[0]


def settle(cluster: Cluster, name: str, timeout: float) -> None:
    """After a failure: wait until what Nomad went back to is deployed, `timeout` seconds at most.

    Failing a deployment and registering the version before are one step of Nomad.
    """
    index = int(cluster.service(name)["JobModifyIndex"])
    with contextlib.suppress(Temporary):  # it goes on without us
        Rollout(cluster, name, index, lambda _: None).follow(timeout, promote=True)


def step_back(cluster: Cluster, name: str) -> int:
    """Undo: fail the deployment that is under way, or register the version before the present.

    Returns the modify index of the registration that follows, or 0 where Nomad itself registers.

    Raises:
        Refused: there is no earlier version that was healthy.
    """
    found = cluster.deployments(name)
    if found and found[0]["Status"] in _OPEN:
        cluster.fail(found[0]["ID"])
        return 0
    newest, *older = cluster.versions(name)
    # What was reverted to is a version of its own, the same as one before it.
    others = (each for each in older if each["TaskGroups"] != newest["TaskGroups"])
    stable = next((each for each in others if each.get("Stable")), None)
    if stable is None:
        raise Refused(
            f"{name} cannot go back",
            f"no other version before {newest['Version']} was ever healthy",
            "Deploy a version that works.",
        )
    reply = cluster.revert(name, int(stable["Version"]), int(newest["Version"]))
    return int(reply["JobModifyIndex"])
