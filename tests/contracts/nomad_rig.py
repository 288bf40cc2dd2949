"""The contract of runners on a real Nomad agent: parents that run a small script by raw_exec."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import uuid
from pathlib import Path
from typing import Any

from pipelines.runners.nomad.contract import (
    GROUP,
    META_OPTIONAL,
    META_REQUIRED,
    PAYLOAD_FILE,
    TASK,
    parent_id,
)
from pipelines.runners.nomad.runner import NomadRunner
from pipelines.runners.nomad.transport import Access
from pipelines.runners.sizes import SIZES, Capacity
from registry.artifacts.attempt import Attempt
from tests.contracts.rigs import JOB, PATIENCE, ROOMY, Does, eventually, new_attempt
from tests.servers.nomad import NomadServer

#: Finds out by its meta which attempt it is, then does what the other rigs' jobs do.
SCRIPT = f"""
import json, os, sys
key = os.environ["NOMAD_META_artifact_key"]
with open(os.path.join(sys.argv[1], key + ".does")) as file: sys.argv[1:] = json.load(file)
with open(sys.argv[1] + ".pid", "w") as file: file.write(str(os.getpid()))
exec({JOB!r})
"""
SECOND = 10**9


def a_parent(name: str, command: list[str], memory_mb: int = 16, **task: Any) -> dict[str, Any]:
    """A parameterized job as `nomad/job.nomad.hcl` makes it, with another command and less room."""
    return {
        "ID": name,
        "Name": name,
        "Type": "batch",
        "Datacenters": ["*"],
        "ParameterizedJob": {
            "Payload": "required",
            "MetaRequired": list(META_REQUIRED),
            "MetaOptional": list(META_OPTIONAL),
        },
        "TaskGroups": [
            {
                "Name": GROUP,
                "RestartPolicy": {
                    "Attempts": 0,
                    "Mode": "fail",
                    "Interval": 60 * SECOND,
                    "Delay": SECOND,
                },
                "ReschedulePolicy": {"Attempts": 0, "Unlimited": False},
                "EphemeralDisk": {"SizeMB": 10},
                "Tasks": [
                    {
                        "Name": TASK,
                        "Driver": "raw_exec",
                        "KillSignal": "SIGTERM",
                        "KillTimeout": 2 * SECOND,
                        "DispatchPayload": {"File": PAYLOAD_FILE},
                        "Config": {"command": command[0], "args": command[1:]},
                        "Resources": {"CPU": 50, "MemoryMB": memory_mb},
                        "LogConfig": {"MaxFiles": 1, "MaxFileSizeMB": 1},
                        **task,
                    }
                ],
            }
        ],
    }


class NomadRig:
    """Children of parents of this rig's own, on an agent that others use as well.

    Which capacity there is says Nomad; so where there is to be room for one job, the jobs ask for
    more than half of the node.
    """

    #: What was queued is found queued by the next runner; who is next is the scheduler's choice.
    keeps_queue = True
    in_order = False

    def __init__(self, folder: Path, server: NomadServer) -> None:
        self._folder = folder
        self._server = server
        self.name = f"rig-{uuid.uuid4().hex[:8]}"
        self._registered: set[str] = set()
        self._access = Access.of(server.environment)

    def runner(self, capacity: Capacity = ROOMY) -> NomadRunner:
        prefix = self.name if capacity == ROOMY else f"{self.name}-narrow"
        if prefix not in self._registered:
            self._register(prefix, 24 if capacity == ROOMY else self._node_mb() * 6 // 10)
        return NomadRunner(self._access, prefix, pace=0.1)

    def never_fits_words(self, capacity: Capacity) -> list[str]:
        return [str(self._node_mb()), str(self._node_mb() * 6 // 10 * 16)]

    def attempt(self, does: Does, **changes: Any) -> Attempt:
        attempt = new_attempt("nomad", "", **changes)
        values = [does.prints, does.hold, does.exit_code, does.signal, does.hungry]
        words = [str(self._marker(attempt)), *map(str, values)]
        (self._folder / f"{attempt.key}.does").write_text(json.dumps(words))
        return attempt

    def runs(self, attempt: Attempt) -> int:
        marker = self._marker(attempt)
        return len(marker.read_text().splitlines()) if marker.exists() else 0

    def release(self, attempt: Attempt) -> None:
        self._marker(attempt).with_suffix(".ran.go").touch()

    def kill(self, attempt: Attempt, number: int = signal.SIGTERM) -> None:
        """By SIGTERM: a SIGKILL from outside looks like the kernel's, when memory runs out."""
        os.kill(self.pid(attempt), number)

    def pid(self, attempt: Attempt) -> int:
        file = self._marker(attempt).with_suffix(".ran.pid")
        eventually(lambda: file.exists() and file.read_text(), "the job told its process id")
        return int(file.read_text())

    def lose(self, attempt: Attempt) -> None:
        """Purge the child, as Nomad's garbage collection does to one that ended long ago."""
        (child,) = self.children(attempt)
        self._delete(child)

    def children(self, attempt: Attempt) -> list[str]:
        """The ids of the children that there are for an attempt."""
        found = self._server.api.get(f"/v1/jobs?prefix={self.name}&meta=true")
        return [
            job["ID"] for job in found if (job["Meta"] or {}).get("artifact_key") == attempt.key
        ]

    def close(self) -> None:
        for job in self._server.api.get(f"/v1/jobs?prefix={self.name}"):
            with contextlib.suppress(OSError):
                self._delete(job["ID"])

    def register(self, size: str, job: dict[str, Any]) -> None:
        """Put another job in the place of the parent of `size`."""
        self._server.register({**job, "ID": parent_id(self.name, "train", size)})

    def _delete(self, job: str) -> None:
        self._server.api.delete(f"/v1/job/{job}?purge=true")

    def _register(self, prefix: str, memory_mb: int) -> None:
        command = [sys.executable, "-I", "-S", "-c", SCRIPT, str(self._folder)]
        for size in ("s", "m", "l", "xl"):
            asked = memory_mb * SIZES[size].memory_mb // SIZES["s"].memory_mb
            name = parent_id(prefix, "train", size)
            self._server.register(a_parent(name, command, asked))
        self._registered.add(prefix)

    def _node_mb(self) -> int:
        (node,) = self._server.api.get("/v1/nodes?resources=true")
        return int(node["NodeResources"]["Memory"]["MemoryMB"])

    def _marker(self, attempt: Attempt) -> Path:
        return self._folder / f"{attempt.key}.ran"


__all__ = ["PATIENCE", "NomadRig", "a_parent"]
