"""Why instances of a deployment are not healthy: what their tasks met, and what checks said."""

from __future__ import annotations

from pipelines.registration.cluster import Cluster, Document
from registry.errors import PenstockError

#: Events of a task that say why it does not run.
_TELLING = {
    "Terminated", "Driver Failure", "Setup Failure", "Failed Validation", "Not Restarting",
    "Failed Artifact Download", "Template", "Task hook failed", "Alloc Unhealthy",
}  # fmt: skip
#: Characters of a check's output that are shown.
WIDTH = 200


def reasons(cluster: Cluster, deployment: str) -> dict[str, str]:
    """What is known of each instance of `deployment` that is not healthy.

    By what it is about, such as `instance 1ed6e609, check ready`; empty text where it was something
    and is nothing any more.
    """
    found: dict[str, str] = {}
    for allocation in cluster.deployed(deployment):
        if not (allocation.get("DeploymentStatus") or {}).get("Healthy"):
            told = {**_events(allocation), **_checks(cluster, allocation)}
            found |= {
                f"instance {allocation['ID'][:8]}, {what}": text for what, text in told.items()
            }
    return found


def _events(allocation: Document) -> dict[str, str]:
    """What happened to each task, in the order in which it did."""
    found = {}
    for task, state in (allocation.get("TaskStates") or {}).items():
        told = [
            _line(event.get("DisplayMessage") or event["Type"])
            for event in state.get("Events") or ()
            if event.get("Type") in _TELLING
        ]
        found[f"task {task}"] = ", ".join(dict.fromkeys(told))
    return found


def _checks(cluster: Cluster, allocation: Document) -> dict[str, str]:
    """What failing checks said, from whoever makes them: Nomad, or Consul."""
    try:
        made_by_nomad = cluster.checks(allocation["ID"])
    except PenstockError:  # its node is gone, or it never ran: there is nothing to be had
        made_by_nomad = {}
    found = {
        f"check {check.get('Check')}": _said(check, "success") for check in made_by_nomad.values()
    }
    consuls = _in_consul(allocation)
    return found | {f"check {check.get('Name')}": _said(check, "passing") for check in consuls}


def _said(check: Document, good: str) -> str:
    return "" if check.get("Status") == good else _line(check.get("Output") or check.get("Status"))


def _in_consul(allocation: Document) -> list[Document]:
    """The checks of the allocation's services; the ids that Nomad gives them hold its own.

    The catalogue learns of another output only minutes after it changed (`check_update_interval`);
    the agent that makes the checks knows it at once, where that is the one that is asked.
    """
    from registry.consul.access import Access, is_named
    from registry.consul.client import Consul

    if not is_named():
        return []
    try:
        consul = Consul(Access.from_environment())
        everywhere = consul.call("GET", "/v1/health/state/any").document or ()
        here: Document = consul.call("GET", "/v1/agent/checks").document or {}
    except PenstockError:
        return []
    found = {str(check["CheckID"]): check for check in everywhere} | here
    return [each for each in found.values() if allocation["ID"] in str(each.get("ServiceID"))]


def _line(text: object) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"
