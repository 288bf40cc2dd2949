"""The children of one parent whose task is placed and does not begin: what its node says about that.

A node pulls an image, fetches what the task needs, logs in to Vault and renders secrets before the
program starts. Mostly that takes a moment; what takes longer is told to whoever waits.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from pipelines.runners.nomad.child import Child
from pipelines.runners.nomad.client import NomadClient, NotThere
from pipelines.runners.nomad.contract import TASK
from pipelines.runners.nomad.errors import NomadRefused
from pipelines.runners.nomad.records import Allocation, Event, Job
from pipelines.runners.states import Starting
from registry.secrets.vault.seal import trouble_with_vault

#: Seconds that a start may take without a word, and between two looks at one that takes longer.
SLOW, AGAIN = 5.0, 10.0
#: What the last event of a task may be while its node tries to log in to Vault, of which Nomad tells
#: nothing before it gives up.
BEFORE_SECRETS = ("Received", "Task Setup", "Template")


class SetupWatch:
    """Looks after children that start; called by the one thread of their parent."""

    def __init__(self, client: NomadClient) -> None:
        self._client = client

    def look(self, children: Sequence[Child]) -> None:
        """Find out what those of `children` that have been starting for long wait for.

        Raises:
            NomadAway.
        """
        for child in children:
            if isinstance(child.state, Starting) and self._is_due(child):
                child.looked_at = time.monotonic()
                with contextlib.suppress(NomadRefused, NotThere):
                    child.explain(self._reason(child))

    def _is_due(self, child: Child) -> bool:
        now = time.monotonic()
        return now - child.starting_since >= SLOW and now - child.looked_at >= AGAIN

    def _reason(self, child: Child) -> str:
        newest = next(iter(reversed(self._client.allocations(child.name))), None)
        if newest is None:
            return ""
        event = last_event(newest)
        if event is None:
            return f"node {newest.node_name} has not begun to set its task up"
        if event.type in BEFORE_SECRETS and takes_secrets(self._client.job(child.name)):
            return waits_for_secrets(newest.node_name, trouble_with_vault())
        told = " ".join(event.display_message.split())
        return f"node {newest.node_name} sets its task up: {event.type}: {told}"


def last_event(allocation: Allocation) -> Event | None:
    """The last thing that the node told about the task; None for nothing."""
    state = (allocation.task_states or {}).get(TASK)
    return next(iter(reversed((state.events if state else None) or [])), None)


def takes_secrets(job: Job) -> bool:
    """Whether its task gets secrets from Vault."""
    tasks = [task for group in job.task_groups or [] for task in group.tasks or []]
    return any(task.vault is not None for task in tasks)


def waits_for_secrets(node: str, trouble: str) -> str:
    """What to say of a task whose node has gone to Vault and not come back.

    Args:
        trouble: what is wrong with the Vault that this process knows; empty for nothing.
    """
    known = trouble or "see whether Vault is sealed, and what the node's log says of it"
    return f"node {node} waits for the secrets of its task from Vault: {known}"
