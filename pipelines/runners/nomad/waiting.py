"""Why a child is not placed, in words for people; and whether it ever can be.

Nomad's scheduler leaves a blocked evaluation with the count of nodes that it looked at, those ruled
out (by a constraint, a driver, a device) and those that are full, by what. Full nodes get free;
a request larger than every node, or that every node rules out, does not get better by waiting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.runners.nomad.records import Job, Metric, Node

#: Seconds for which every node must rule a job out until that counts as for ever. Drivers come and
#: go: the engine of docker restarts, a node that just started has not looked for its drivers yet.
RULED_OUT, WITHOUT_DRIVER = 5.0, 60.0
_DRIVERS = ("missing drivers", "unhealthy drivers")


@dataclass(frozen=True)
class Ask:
    """What a job asks for, of one node: MiB of memory, MHz, cores."""

    memory_mb: int = 0
    cpu: int = 0
    cores: int = 0

    @classmethod
    def of(cls, job: Job) -> Ask:
        """The sum over the tasks of its group."""
        tasks = [task for group in job.task_groups or [] for task in group.tasks or []]
        return cls(
            sum(task.resources.memory_mb for task in tasks),
            sum(task.resources.cpu for task in tasks if not task.resources.cores),
            sum(task.resources.cores or 0 for task in tasks),
        )


def reason_of(metric: Metric) -> str:
    """Why a job waits: "no room: memory is exhausted on 3 of 4 nodes"."""
    if not metric.nodes_evaluated:
        return "no node is ready in its datacenters and node pool"
    words = [
        f"{dimension} is exhausted on {count} of {metric.nodes_evaluated} nodes"
        for dimension, count in _counts(metric.dimension_exhausted)
    ]
    words += [f"the quota {quota} is exhausted" for quota in metric.quota_exhausted or []]
    words += [
        f"{constraint} rules out {count} of {metric.nodes_evaluated} nodes"
        for constraint, count in _counts(metric.constraint_filtered)
    ]
    words += [
        f"node class {name} rules out {count} of {metric.nodes_evaluated} nodes"
        for name, count in _counts(metric.class_filtered)
    ]
    return f"no room: {'; '.join(words)}" if words else "no room: every node is full"


def patience_with(metric: Metric) -> float | None:
    """Seconds after which `metric`, if it has not changed, means never; None: it may change."""
    evaluated = metric.nodes_evaluated
    if not evaluated or metric.nodes_filtered < evaluated:
        return None
    constraints = metric.constraint_filtered or {}
    drivers = any(word in name for name in constraints for word in _DRIVERS)
    return WITHOUT_DRIVER if drivers else RULED_OUT


def larger_than_all(size: str, ask: Ask, nodes: Sequence[Node]) -> str:
    """Why no node can ever take a job of `size` that asks for this; empty when one can.

    Nodes that are down or drained count: they come back.
    """
    known = [node for node in nodes if node.node_resources is not None]
    if not known or any(_takes(node, ask) for node in known):
        return ""
    memory, cpu, cores = (max(sizes) for sizes in zip(*map(_has, known), strict=True))
    asked = f"{ask.cores} cores" if ask.cores else f"{ask.cpu} MHz"
    has = f"{cores} cores" if ask.cores else f"{cpu} MHz"
    return (
        f"size {size} asks for {ask.memory_mb} MiB and {asked}; no node has that much "
        f"(the most that one of {len(known)} has is {memory} MiB, and {has})"
    )


def _takes(node: Node, ask: Ask) -> bool:
    memory, cpu, cores = _has(node)
    return ask.memory_mb <= memory and ask.cpu <= cpu and ask.cores <= cores


def _has(node: Node) -> tuple[int, int, int]:
    """MiB, MHz and cores that a node has for jobs."""
    has, kept = node.node_resources, node.reserved_resources
    if has is None:
        return 0, 0, 0
    memory = has.memory.memory_mb - (kept.memory.memory_mb if kept else 0)
    cpu = has.cpu.cpu_shares - (kept.cpu.cpu_shares if kept else 0)
    return memory, cpu, has.cpu.total_cpu_cores


def _counts(counts: Mapping[str, int] | None) -> Iterable[tuple[str, int]]:
    return sorted((counts or {}).items())
