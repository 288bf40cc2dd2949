"""The contract of a dispatch: what the pipeline sends, and the job specifications rely on.

A parent is the parameterized job `<prefix>-<kind>-<size>`: the kind is a module of `jobs`, and
resources can only be chosen by choosing a parent. Its child gets a payload that says which attempt
to run, and meta by which people and pipelines find the child again:

    payload  {"root": URI of the environment, "attempt": key of the record, "digest": its sha256}
    meta     artifact_key  attempt  run_id  [step]

The payload is a file of the task; `python -m jobs --payload ${NOMAD_TASK_DIR}/dispatch.json` reads
it. Nomad allows 16 KiB of payload, and gives no way to tell an optional meta key that was left out
from an empty one.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from pipelines.runners.protocol import AttemptReference
from registry.artifacts import layout
from registry.artifacts.attempt import Attempt

#: What job specifications call the one group, and the one task that does the work.
GROUP = TASK = "job"
#: Name of the payload's file below `local/` of the task.
PAYLOAD_FILE = "dispatch.json"
#: Nomad's limit, on the decoded payload.
PAYLOAD_BYTES = 16 * 1024
META_REQUIRED = ("artifact_key", "attempt", "run_id")
META_OPTIONAL = ("step",)
#: What Nomad puts between a parent's id and the rest of a child's.
DISPATCHED = "/dispatch-"
#: Priorities of the evaluations by which penstock stops children. Nomad keeps no reason for a stop,
#: but this number, so any pipeline can tell whose doing it was (see `failures`).
STOP_PRIORITIES = {"stopped": 61, "timeout": 62, "no-room": 63, "no-fit": 64}


def parent_id(prefix: str, kind: str, size: str) -> str:
    """The id of the parameterized job for a kind of work in a size."""
    return f"{prefix}-{kind}-{size}"


def children_prefix(parent: str) -> str:
    """What the ids of all children of `parent` start with."""
    return f"{parent}{DISPATCHED}"


@dataclass(frozen=True)
class Dispatch:
    """One dispatch: the parent, and what makes its child that of one attempt alone."""

    parent: str
    attempt: Attempt

    @classmethod
    def of(cls, prefix: str, attempt: Attempt) -> Dispatch:
        """The dispatch of `attempt`, whose jobs are registered under `prefix`."""
        return cls(parent_id(prefix, attempt.kind, attempt.size), attempt)

    @property
    def token(self) -> str:
        """The idempotency token; attempts of two stores may share key and number."""
        return f"{self.attempt.key}:{self.attempt.number}:{self.attempt.write_id[:8]}"

    @property
    def id_template(self) -> str:
        """What Nomad puts into the child's id, so that it can be listed by attempt."""
        return f"{self.attempt.key[:12]}-{self.attempt.number}"

    @property
    def child_prefix(self) -> str:
        """What the child's id starts with."""
        return f"{children_prefix(self.parent)}{self.id_template}-"

    @property
    def meta(self) -> dict[str, str]:
        """The child's meta."""
        attempt = self.attempt
        meta = {
            "artifact_key": attempt.key,
            "attempt": str(attempt.number),
            "run_id": attempt.run,
        }
        return {**meta, "step": attempt.step} if attempt.step else meta

    def body(self, reference: AttemptReference) -> dict[str, Any]:
        """The request of a dispatch. The token is no part of it: it goes into the query."""
        root, record, digest = reference
        payload = json.dumps({"root": root, "attempt": record, "digest": digest}).encode()
        return {
            "Payload": base64.b64encode(payload).decode(),
            "Meta": self.meta,
            "IdPrefixTemplate": self.id_template,
        }

    def is_of(self, meta: dict[str, str] | None) -> bool:
        """Whether a child with that meta belongs to this attempt."""
        return attempt_named(meta) == (self.attempt.path, self.attempt.run)


def attempt_named(meta: dict[str, str] | None) -> tuple[str, str] | None:
    """Path of the attempt record, and run, that a child's meta names; None if it names none."""
    meta = meta or {}
    number = meta.get("attempt", "")
    if not (meta.get("artifact_key") and number.isdigit()):
        return None
    return layout.attempt_path(meta["artifact_key"], int(number)), meta.get("run_id", "")
