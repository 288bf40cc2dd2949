"""One attempt's child, as its parent's thread last saw it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import msgspec

from pipelines.runners.nomad.records import JobStub
from pipelines.runners.states import Ended, Queued, Running, Starting, State, Vanished
from registry.artifacts.attempt import Attempt

#: What is said of a child until the scheduler has looked at it, or has left no reason.
NOT_PLACED = "Nomad has not placed it yet"


@dataclass(eq=False)
class Child:
    """An attempt that somebody wants to know about, and what is known of it.

    `state` is replaced, never changed, so any thread may read it. `over` is set with the last one,
    or with `error`, which belongs to whoever waits.
    """

    attempt: Attempt
    name: str
    state: State = field(default_factory=lambda: Queued(NOT_PLACED))
    error: Exception | None = None
    over: threading.Event = field(default_factory=threading.Event)
    ran: bool = False
    #: Monotonic times: since when it has been pending without any allocation, and ruled out.
    pending_since: float = field(default_factory=time.monotonic)
    ruled_out_since: float | None = None
    #: Monotonic times: since when its task has been starting, and the last look at why.
    starting_since: float = 0.0
    looked_at: float = 0.0
    asked_to_end: bool = False
    #: Whether the last list did not show it any more, although it has not ended.
    ending: bool = False

    def see(self, stub: JobStub) -> None:
        """Take in what a list says about it, unless its end is known already."""
        if self.over.is_set():
            return
        state = state_of(stub)
        if isinstance(state, Queued | Starting) and type(state) is type(self.state):
            return  # the reason that was found out stays until it is something else
        if not isinstance(state, Queued):
            self.ran = True
            self.ruled_out_since = None
            self.pending_since = self.starting_since = time.monotonic()
        self.state = state

    def explain(self, reason: str) -> None:
        """Say why it is queued, or what its start waits for."""
        if isinstance(self.state, Queued | Starting):
            self.state = msgspec.structs.replace(self.state, reason=reason)

    def finish(self, state: Ended | Vanished) -> None:
        """Record its end; the first one stays."""
        if not self.over.is_set():
            self.state = state
            self.over.set()

    def fail(self, error: Exception) -> None:
        """Hand an error to whoever waits."""
        if not self.over.is_set():
            self.error = error
            self.over.set()

    def outcome(self) -> Ended | None:
        """Its end, if it has ended. Raises the error that there was instead."""
        if self.error is not None:
            raise self.error
        if isinstance(self.state, Vanished):
            return self.state.as_ended()
        return self.state if isinstance(self.state, Ended) else None


def state_of(stub: JobStub) -> Queued | Starting | Running:
    """Where a child stands that is not dead."""
    counts = stub.counts
    if counts.running:
        return Running()
    if counts.unknown:
        return Running("the node that runs it does not answer")
    if counts.starting:
        return Starting()
    return Queued(NOT_PLACED)


def with_trouble(state: State, trouble: str) -> State:
    """`state`, with what keeps it from being known better."""
    if trouble and isinstance(state, Queued | Starting | Running):
        return msgspec.structs.replace(state, reason=trouble)
    return state
