from __future__ import annotations

import pytest

from pipelines.runners.nomad.records import (
    Capacity,
    Cpu,
    Group,
    Job,
    Memory,
    Metric,
    Node,
    Resources,
    Task,
)
from pipelines.runners.nomad.waiting import (
    RULED_OUT,
    WITHOUT_DRIVER,
    Ask,
    larger_than_all,
    patience_with,
    reason_of,
)


def node(memory: int, cpu: int = 4000, kept: int = 0) -> Node:
    has = Capacity(Cpu(cpu, 4), Memory(memory))
    return Node("n", node_resources=has, reserved_resources=Capacity(Cpu(), Memory(kept)))


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (
            Metric(3, nodes_exhausted=3, dimension_exhausted={"memory": 2, "cpu": 1}),
            "no room: cpu is exhausted on 1 of 3 nodes; memory is exhausted on 2 of 3 nodes",
        ),
        (
            Metric(2, 1, constraint_filtered={"missing devices": 1}, nodes_exhausted=1),
            "no room: missing devices rules out 1 of 2 nodes",
        ),
        (Metric(1, 1, class_filtered={"small": 1}), "no room: node class small rules out 1 of 1"),
        (Metric(1, quota_exhausted=["team"]), "no room: the quota team is exhausted"),
        (Metric(0), "no node is ready in its datacenters and node pool"),
        (Metric(2), "no room: every node is full"),
    ],
)
def test_reasons_are_words(metric, words):
    assert reason_of(metric).startswith(words)


@pytest.mark.parametrize(
    ("metric", "patience"),
    [
        (Metric(2, 2, constraint_filtered={"${attr.kernel.name} = plan9": 2}), RULED_OUT),
        (Metric(2, 2, constraint_filtered={"missing drivers": 2}), WITHOUT_DRIVER),
        (Metric(2, 1, nodes_exhausted=1), None),
        (Metric(0, 0), None),  # no node at all: one may come
    ],
)
def test_what_every_node_rules_out_is_given_up_soon(metric, patience):
    assert patience_with(metric) == patience


def test_what_is_larger_than_every_node_never_fits():
    ask = Ask(memory_mb=16384, cpu=1000)
    assert larger_than_all("xl", ask, [node(1024), node(16384)]) == ""
    assert larger_than_all("xl", ask, []) == ""
    reason = larger_than_all("xl", ask, [node(1024), node(16384, kept=1)])
    assert "size xl asks for 16384 MiB" in reason
    assert "is 16383 MiB" in reason
    assert larger_than_all("xl", Ask(cpu=9000), [node(1024)])
    assert "8 cores" in larger_than_all("xl", Ask(cores=8), [node(1024)])


def test_a_job_asks_for_what_its_tasks_do_together():
    tasks = [
        Task("job", resources=Resources(500, 0, 1000)),
        Task("b", resources=Resources(0, 2, 24)),
    ]
    assert Ask.of(Job("j", task_groups=[Group("job", tasks)])) == Ask(1024, 500, 2)
