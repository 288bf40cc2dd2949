"""Why instances of a deployment are not healthy: what their tasks met, and what checks said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.registration.cluster import Cluster, Document
from registry.errors import PenstockError

#: Events of a task that say why it does not run.
_TELLING = {
    "Terminated", "Driver Failure", "Setup Failure", "Failed Validation", "Not Restarting",
    "Failed Artifact Download", "Template", "Task hook failed", "Alloc Unhealthy",
}  # fmt: skip
#: Characters of a check's output that are shown.
WIDTH = 200


def reasons(cluster: Cluster, deployment: str) -> list[str]:
    """A line for each unhealthy instance of `deployment` and what is known of it; none if none."""
    lines = []
    for allocation in cluster.deployed(deployment):
        healthy = (allocation.get("DeploymentStatus") or {}).get("Healthy")
        if not healthy:
            told = [*_events(allocation), *_checks(cluster, allocation)]
            name = allocation["ID"][:8]
            lines += [f"instance {name}: {text}" for text in dict.fromkeys(told)]
    return lines


def _events(allocation: Document) -> Iterator[str]:
    for task, state in (allocation.get("TaskStates") or {}).items():
        for event in state.get("Events") or ():
            if event.get("Type") in _TELLING:
                yield f"{task}: {_line(event.get('DisplayMessage') or event['Type'])}"


def _checks(cluster: Cluster, allocation: Document) -> Iterator[str]:
    """What failing checks said, from whoever makes them: Nomad, or Consul."""
    try:
        made_by_nomad = cluster.checks(allocation["ID"])
    except PenstockError:  # its node is gone, or it never ran: there is nothing to be had
        made_by_nomad = {}
    for check in made_by_nomad.values():
        if check.get("Status") != "success":
            yield f"check {check.get('Check')}: {_line(check.get('Output'))}"
    for check in _in_consul(allocation):
        if check.get("Status") != "passing":
            yield f"check {check.get('Name')}: {_line(check.get('Output'))}"


def _in_consul(allocation: Document) -> list[Document]:
    """The checks of the allocation's services; the ids that Nomad gives them hold its own."""
    from registry.consul.access import Access, is_named
    from registry.consul.client import Consul

    if not is_named():
        return []
    try:
        found: Any = Consul(Access.from_environment()).call("GET", "/v1/health/state/any").document
    except PenstockError:
        return []
    return [check for check in found or () if allocation["ID"] in str(check.get("ServiceID"))]


def _line(text: object) -> str:
    line = " ".join(str(text or "no output").split())
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"
