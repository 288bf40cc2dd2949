"""The children of one parent that are not placed: why, whether they ever can be, and first aid."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from pipelines.runners.nomad.child import Child
from pipelines.runners.nomad.client import NomadClient, NotThere
from pipelines.runners.nomad.contract import STOP_PRIORITIES, children_prefix
from pipelines.runners.nomad.errors import NomadAway, NomadRefused
from pipelines.runners.nomad.records import Evaluation, Metric, Node
from pipelines.runners.nomad.waiting import Ask, larger_than_all, patience_with, reason_of
from pipelines.runners.states import Ended, Kind, Queued

#: Seconds for which what nodes have, and what the parent asks for, need not be read again.
FRESH = 30.0
#: Seconds after which a child without any evaluation gets one. Before Nomad 1.10.5 a crash of the
#: leader could store a child without (hashicorp/nomad#26710), which then waited for ever.
FORGOTTEN = 10.0


class QueueWatch:
    """Looks after queued children of the parent `name`; called by its one thread."""

    def __init__(self, client: NomadClient, name: str) -> None:
        self._client = client
        self._name = name
        self._read_at = -FRESH
        self._ask = Ask()
        self._nodes: list[Node] = []

    def look(self, children: Sequence[Child]) -> None:
        """Find out why those of `children` that are queued are; end what can never be placed.

        Raises:
            NomadAway, NomadRefused.
        """
        queued = [child for child in children if isinstance(child.state, Queued)]
        if not queued:
            return
        blocked = {e.job_id: e for e in self._client.blocked(children_prefix(self._name))}
        for child in queued:
            evaluation = blocked.get(child.name)
            if evaluation is None:
                self._revive(child)
            elif (metric := _metric(evaluation)) is not None:
                self._judge(child, metric)

    def _judge(self, child: Child, metric: Metric) -> None:
        reason = reason_of(metric)
        child.explain(reason)
        if metric.nodes_exhausted and (larger := self._larger(child.attempt.size)):
            self._give_up(child, f"{larger}; Nomad says: {reason}")
            return
        patience = patience_with(metric)
        if patience is None:
            child.ruled_out_since = None
            return
        now = time.monotonic()
        child.ruled_out_since = child.ruled_out_since or now
        if now - child.ruled_out_since >= patience:
            self._give_up(child, f"no node can ever take it; Nomad says: {reason}")

    def _larger(self, size: str) -> str:
        now = time.monotonic()
        if now - self._read_at >= FRESH:
            # Without the right to read nodes, or without a parent any more, it waits until its
            # deadline.
            with contextlib.suppress(NomadRefused, NotThere):
                self._ask = Ask.of(self._client.job(self._name))
                self._nodes = self._client.nodes()
            self._read_at = now
        return larger_than_all(size, self._ask, self._nodes)

    def _give_up(self, child: Child, reason: str) -> None:
        child.finish(Ended(None, None, Kind.NO_FIT, reason=reason))
        # If that fails it waits on, and `penstock orphans` shows it.
        with contextlib.suppress(NomadAway, NomadRefused):
            self._client.stop(child.name, STOP_PRIORITIES["no-fit"])

    def _revive(self, child: Child) -> None:
        """Have the scheduler look at a child that it never looked at."""
        if child.ran or time.monotonic() - child.pending_since < FORGOTTEN:
            return
        child.pending_since = time.monotonic()
        if not self._client.evaluations(child.name):
            with contextlib.suppress(NotThere, NomadRefused):
                self._client.evaluate(child.name)


def _metric(evaluation: Evaluation) -> Metric | None:
    return next(iter((evaluation.failed_tg_allocs or {}).values()), None)
