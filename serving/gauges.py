"""What the supervisor can see at the moment of a scrape: its processes, and what is live."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from serving.children import Children
from serving.deployment import Deployment
from serving.exposition import Labels, Values
from serving.gateway.served import VERSION_DIGITS

_PAGE = os.sysconf("SC_PAGESIZE")


def gauges(children: Children, deployments: Sequence[Deployment], clients: int | None) -> Values:
    """The gauges of a service; `clients` is None where no token is asked for."""
    found: Values = {("build_info", (("version", version("penstock")),)): [1.0]}
    if clients is not None:
        found["clients", ()] = [float(clients)]
    return found | _processes(children) | _live(deployments)


def _processes(children: Children) -> Values:
    running, resident = Counter[Labels](), Counter[Labels]()
    for labels, pid in children.processes():
        running[labels] += 1
        resident[labels] += resident_bytes(pid)
    return {("processes", labels): [float(n)] for labels, n in running.items()} | {
        ("process_resident_memory_bytes", labels): [float(n)] for labels, n in resident.items()
    }


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 once it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _live(deployments: Sequence[Deployment]) -> Values:
    found: Values = {}
    for deployment in deployments:
        generation = deployment.generation
        if generation is not None:
            labels: Labels = (
                ("model", deployment.model),
                ("alias", deployment.alias),
                ("revision", str(generation.head.revision)),
                ("version", generation.reference.version[:VERSION_DIGITS]),
            )
            found["generation_info", labels] = [1.0]
            found["generation_start_time_seconds", labels[:2]] = [generation.since]
    return found
