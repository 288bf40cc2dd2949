"""The contract of heads."""

from __future__ import annotations

from typing import Protocol

import msgspec

from registry.aliases.decision import Decision
from registry.artifacts.manifest import Reference


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest revision of an alias, and the artifact that it makes live (None: nothing)."""

    model: str
    alias: str
    revision: int
    live: Reference | None
    write_id: str
    who: str = ""
    when: str = ""


def head_of(decision: Decision) -> Head:
    """The head that points at `decision`."""
    return Head(
        decision.model,
        decision.alias,
        decision.revision,
        decision.live,
        decision.write_id,
        decision.who,
        decision.when,
    )


class Heads(Protocol):
    """Heads of all aliases of one environment, moved by check-and-set."""

    def read(self, model: str, alias: str) -> Head | None:
        """The head of an alias, or None if it has none.

        Raises:
            BadData: what is stored there is not a head.
            Temporary: the heads cannot be reached.
        """

    def advance(self, head: Head) -> Head:
        """Move the head up to `head`; returns the head that stands afterwards.

        It never goes down: where a higher revision stands already, that one is returned. A head
        that cannot be read is replaced. `head.write_id` settles a lost reply.
        """

    def wait(self, model: str, alias: str, revision: int, timeout: float) -> Head | None:
        """Block until the head's revision differs from `revision`; None after `timeout` seconds.

        A head that cannot be read raises BadData, as `read` does.
        """
