"""From what is wanted to what is registered: parse, look, plan, and change only what differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipelines.registration.cluster import Cluster, Document
from pipelines.registration.difference import changes
from pipelines.registration.guard import check_program, refuse_secrets
from pipelines.registration.values import Values, filled_in
from pipelines.registration.wanted import Wanted


@dataclass(frozen=True)
class Planned:
    """A job as it is to be, and what registering it would change."""

    job: Document
    index: int
    action: Literal["new", "changed", "unchanged"]
    changes: list[str]
    warnings: str

    @property
    def name(self) -> str:
        """The job's id."""
        return str(self.job["ID"])


def plan(cluster: Cluster, wanted: Wanted, given: Values) -> Planned:
    """What registering `wanted` would do; `given` comes before its own values.

    Raises:
        UsageError: a variable has no value, or it is not said what runs.
        BadData: Nomad does not accept the specification.
        Refused: the job would hold a secret.
    """
    job = cluster.parse(wanted.spec, filled_in(wanted.spec, {**wanted.values, **given}))
    check_program(job)
    refuse_secrets(job)
    found = cluster.plan(job)
    return Planned(
        job,
        int(found["JobModifyIndex"]),
        _action(found),
        changes(found.get("Diff") or {}),
        str(found.get("Warnings") or "").strip(),
    )


def _action(found: Document) -> Literal["new", "changed", "unchanged"]:
    kind = (found.get("Diff") or {}).get("Type")
    if kind == "Added" or not found["JobModifyIndex"]:
        return "new"
    return "unchanged" if kind == "None" else "changed"


def register(cluster: Cluster, planned: Planned) -> Document | None:
    """Register unless nothing would change; returns Nomad's reply.

    Raises:
        Temporary: somebody registered the job since it was planned.
    """
    if planned.action == "unchanged":
        return None
    return cluster.register(planned.job, planned.index)
