"""A generation: one attempt to make one revision of a model serve, and the states of its life.

```
desired ─ fetching ─ verified ─ loading ─ warming ─ validated ─ active ─ draining ─ held ─ retired
   └─────────┴──────────┴──────────┴─────────┴──────────┴──── rejected(reason)
```

Everything that changes a state is here. A rejected generation never disturbed the active one. One
that takes over the workers of another, for the same artifact under a new revision, is validated at
once: they have proved it.
"""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path

from registry.aliases import Head
from registry.artifacts.manifest import Reference
from registry.logs import get_logger
from serving.errors import ServingError
from serving.messages import Announce

log = get_logger(__name__)


class State(StrEnum):
    """Where a generation is in its life."""

    DESIRED = "desired"
    FETCHING = "fetching"
    VERIFIED = "verified"
    LOADING = "loading"
    WARMING = "warming"
    VALIDATED = "validated"
    ACTIVE = "active"
    DRAINING = "draining"
    HELD = "held"
    RETIRED = "retired"
    REJECTED = "rejected"


_S = State
#: A crash while loading sends a candidate back from loading or warming to verified.
TRANSITIONS: dict[State, frozenset[State]] = {
    _S.DESIRED: frozenset({_S.FETCHING, _S.VALIDATED, _S.REJECTED}),
    _S.FETCHING: frozenset({_S.VERIFIED, _S.REJECTED}),
    _S.VERIFIED: frozenset({_S.LOADING, _S.REJECTED}),
    _S.LOADING: frozenset({_S.WARMING, _S.VERIFIED, _S.REJECTED}),
    _S.WARMING: frozenset({_S.VALIDATED, _S.VERIFIED, _S.REJECTED}),
    _S.VALIDATED: frozenset({_S.ACTIVE, _S.REJECTED}),
    _S.ACTIVE: frozenset({_S.DRAINING}),
    _S.DRAINING: frozenset({_S.HELD, _S.RETIRED}),
    _S.HELD: frozenset({_S.RETIRED}),
    _S.RETIRED: frozenset(),
    _S.REJECTED: frozenset(),
}

#: Steps that end a stage of a reload; its others are timed by the workers.
STAGES = {(_S.FETCHING, _S.VERIFIED): "fetch", (_S.VALIDATED, _S.ACTIVE): "flip"}


class Generation:
    """One generation of a model. `number` counts within the service; it is not the revision."""

    def __init__(self, number: int, head: Head, reference: Reference) -> None:
        self.number = number
        self.head = head
        self.reference = reference
        self.folder = Path()
        self.state = State.DESIRED
        self.reason = ""
        self.since = time.time()
        #: How many of its first requests are on trial.
        self.trial = 0
        #: Seconds of the stages that are over, in the order in which they ended, until they are told.
        self.stages: list[tuple[str, float]] = []
        self._entered = time.monotonic()

    def __str__(self) -> str:
        reason = f": {self.reason[:300]}" if self.reason else ""
        return f"revision {self.head.revision} {self.state}{reason}"

    @property
    def model(self) -> str:
        """The model's name."""
        return self.head.model

    def to(self, state: State, reason: str = "") -> None:
        """Change the state. Raises ServingError for a step that is not in `TRANSITIONS`."""
        if state not in TRANSITIONS[self.state]:
            raise ServingError(f"generation {self.number} cannot go from {self.state} to {state}")
        if stage := STAGES.get((self.state, state)):
            self.stages.append((stage, time.monotonic() - self._entered))
        self.state, self.reason, self.since = state, reason, time.time()
        self._entered = time.monotonic()
        level = log.warning if state is State.REJECTED else log.info
        level(
            "generation",
            model=self.model,
            generation=self.number,
            revision=self.head.revision,
            version=self.reference.version,
            state=str(state),
            reason=reason,
        )

    def reject(self, reason: str) -> None:
        """End a candidate, in whatever state it is; the active generation stays as it is."""
        if State.REJECTED in TRANSITIONS[self.state]:
            self.to(State.REJECTED, reason)

    @property
    def supersedable(self) -> bool:
        """Whether a newer revision may still take this one's place before it is active."""
        return State.REJECTED in TRANSITIONS[self.state] and self.state is not State.VALIDATED

    def take_stages(self) -> list[tuple[str, float]]:
        """The stages that ended since this was last asked, and the seconds of each."""
        taken, self.stages = self.stages, []
        return taken

    def announce(self) -> Announce:
        """What a gateway must know of it."""
        return Announce(
            model=self.model,
            generation=self.number,
            alias=self.head.alias,
            revision=self.head.revision,
            version=self.reference.version,
            folder=str(self.folder),
            since=self.since,
            who=self.head.who,
            trial=self.trial,
        )
