"""Small jobs of raw_exec for tests of servers, in the form of Nomad's JSON API."""

from __future__ import annotations

from typing import Any

from tests.servers import process
from tests.servers.nomad import NomadServer


def shell_job(name: str, script: str, **task: Any) -> dict[str, Any]:
    """A batch job that runs `script` once; never again, whatever happens."""
    return {
        "ID": name,
        "Type": "batch",
        "TaskGroups": [
            {
                "Name": "job",
                "RestartPolicy": {"Attempts": 0, "Mode": "fail"},
                "ReschedulePolicy": {"Attempts": 0, "Unlimited": False},
                "Tasks": [
                    {
                        "Name": "job",
                        "Driver": "raw_exec",
                        "Config": {"command": "/bin/sh", "args": ["-c", script]},
                        "Resources": {"CPU": 20, "MemoryMB": 32},
                    }
                    | task
                ],
            }
        ],
    }


def status(nomad: NomadServer, job: str) -> str:
    """`ClientStatus` of the newest allocation of the job; empty where there is none yet."""
    found = nomad.allocations(job)
    return str(found[0]["ClientStatus"]) if found else ""


def wait_for(nomad: NomadServer, job: str, wanted: str) -> str:
    """Wait until the job's newest allocation is `wanted`, and return its id."""
    process.until(lambda: status(nomad, job) == wanted, f"{job} {wanted}")
    return str(nomad.allocations(job)[0]["ID"])


def output(nomad: NomadServer, job: str) -> str:
    """What the job's newest allocation prints; waits until there is some."""
    allocation = str(nomad.allocations(job)[0]["ID"])
    process.until(lambda: nomad.logs(allocation, "job"), f"output of {job}")
    return nomad.logs(allocation, "job").strip()
