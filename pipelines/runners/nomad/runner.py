"""`NomadRunner`: attempts as children of parameterized jobs, on whatever Nomad NOMAD_ADDR names.

It has no memory that matters. A child is found by its attempt's idempotency token, or in the list
of children by meta, so a pipeline that follows another finds what that one started.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from pipelines.runners.nomad.child import Child, state_of, with_trouble
from pipelines.runners.nomad.client import NomadClient, NotThere
from pipelines.runners.nomad.contract import (
    DISPATCHED,
    STOP_PRIORITIES,
    TASK,
    Dispatch,
    attempt_named,
)
from pipelines.runners.nomad.errors import NomadAway, NomadRefused
from pipelines.runners.nomad.failures import verdict
from pipelines.runners.nomad.parent import PACE, Parent
from pipelines.runners.nomad.records import JobStub
from pipelines.runners.nomad.transport import Access
from pipelines.runners.protocol import AttemptReference, LiveJob, RunnerClosed
from pipelines.runners.sizes import size_named
from pipelines.runners.states import Ended, State, Unknown, Vanished
from registry.artifacts.attempt import Attempt
from registry.settings import Settings

#: Dispatches of one attempt before a child that is not there is given up.
DISPATCHES = 5
#: Seconds after which a waiter looks again for a child that somebody else may start.
LOOK = 2.0


class NomadRunner:
    """Runs jobs as children of the jobs `<prefix>-<kind>-<size>`.

    Args:
        access: which Nomad, and how to be let in.
        prefix: what the ids of parents start with.
        pace: seconds between two answers about the children of a parent, at least.
    """

    name = "nomad"
    host = ""

    def __init__(self, access: Access, prefix: str = "penstock", pace: float = PACE) -> None:
        self._pace = pace
        self._client = NomadClient(access)
        self._prefix = prefix
        self._lock = threading.Lock()
        self._parents: dict[str, Parent] = {}
        self._children: dict[str, Child] = {}
        self._closed = threading.Event()

    @classmethod
    def of(cls, settings: Settings) -> NomadRunner:
        """The runner on the Nomad that the environment names. Raises ConfigError."""
        return cls(Access.of(), settings.nomad_prefix)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def start(self, attempt: Attempt, reference: AttemptReference) -> None:
        """Dispatch the attempt's job, unless it was; see `Runner.start`."""
        size_named(attempt.size)
        self._check_open()
        if attempt.runner != self.name or self._known(attempt) is not None:
            return
        with self._parent(attempt).expecting():
            stub = self._dispatched(Dispatch.of(self._prefix, attempt), reference)
            child = self._follow(attempt, stub.id)
        if stub.status != "dead":
            child.see(stub)

    def state(self, attempt: Attempt) -> State:
        """Where the attempt stands now; see `Runner.state`."""
        if attempt.runner != self.name:
            return Unknown(f"it belongs to the runner {attempt.runner!r}")
        child = self._known(attempt)
        if child is not None and child.error is None:
            return with_trouble(child.state, self._parent(attempt).trouble)
        stub = self._find(attempt)
        if stub is None:
            return Unknown()
        end = self._verdict(attempt, stub) if stub.status == "dead" else None
        return end or state_of(stub)

    def wait(self, attempt: Attempt, timeout: float | None = None) -> Ended | None:
        """How the attempt ended, None after `timeout` seconds; see `Runner.wait`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            child = self._known(attempt) or self._found(attempt)
            if child is not None:
                child.over.wait(left)
                return self._outcome(child)
            if left is not None and left <= 0:
                return None
            self._closed.wait(LOOK if left is None else min(LOOK, left))

    def stop(self, attempt: Attempt) -> None:
        """Deregister the attempt's child; see `Runner.stop`."""
        child = self._known(attempt)
        if child is not None:
            name = "" if child.over.is_set() else child.name
        else:
            stub = self._find(attempt)
            name = stub.id if stub is not None and stub.status != "dead" else ""
        if name:
            self._client.stop(name, STOP_PRIORITIES["stopped"])

    def log_tail(self, attempt: Attempt, limit: int = 65536) -> bytes:
        """The last `limit` bytes that the job printed; see `Runner.log_tail`.

        Standard error comes after standard output, since Nomad keeps them apart and jobs say why
        they failed there. Empty where the node has deleted them, or is gone.
        """
        child = self._known(attempt)
        if child is not None:
            return self._log(child.name, limit)
        stub = self._find(attempt)
        return self._log(stub.id, limit) if stub else b""

    def live(self) -> list[LiveJob]:
        """The children that have not ended; see `Runner.live`."""
        stubs = self._client.children(f"{self._prefix}-", live=True).jobs
        named = ((stub, attempt_named(stub.meta)) for stub in stubs if DISPATCHED in stub.id)
        return [LiveJob(found[0], stub.id, found[1]) for stub, found in named if found]

    def pipeline_lives(self, allocation: str) -> bool | None:
        """Whether a pipeline's own allocation has not ended; see `Runner.pipeline_lives`."""
        try:
            found = self._client.allocation(allocation)
        except NotThere:  # collected, hours after its end
            return False
        return found.client_status not in ("complete", "failed", "lost")

    def close(self) -> None:
        """Wake all who wait; children go on; see `Runner.close`."""
        self._closed.set()
        with self._lock:
            parents = list(self._parents.values())
        for parent in parents:
            parent.close()
        self._client.close()
        for parent in parents:
            parent.join()

    def _dispatched(self, dispatch: Dispatch, reference: AttemptReference) -> JobStub:
        """The attempt's one child, dispatched now or before.

        Nomad (since 1.11.2) answers the loser of two dispatches at once with the id of a child that
        does not exist; the same token then leads to the one that does.
        """
        child = ""
        for turn in range(DISPATCHES):
            self._check_open()
            child = self._client.dispatch(dispatch, reference)
            for stub in self._client.children(child).jobs:
                if stub.id == child:
                    return stub
            self._closed.wait(0.1 * 2**turn)
        raise NomadAway(f"it says that it dispatched {child}, and has no such job")

    def _follow(self, attempt: Attempt, name: str) -> Child:
        child = self._parent(attempt).follow(attempt, name)
        with self._lock:
            return self._children.setdefault(attempt.write_id, child)

    def _parent(self, attempt: Attempt) -> Parent:
        name = Dispatch.of(self._prefix, attempt).parent
        with self._lock:
            if name not in self._parents:
                self._parents[name] = Parent(self._client, name, self._log, self._pace)
            return self._parents[name]

    def _outcome(self, child: Child) -> Ended | None:
        """The end of a child. Raises what following it met, which is not held against it."""
        if child.error is not None:
            with self._lock:
                self._children.pop(child.attempt.write_id, None)
        return child.outcome()

    def _known(self, attempt: Attempt) -> Child | None:
        with self._lock:
            return self._children.get(attempt.write_id)

    def _found(self, attempt: Attempt) -> Child | None:
        """The child to follow, if somebody has started it."""
        self._check_open()
        if attempt.runner != self.name:
            return None
        try:
            stub = self._find(attempt)
        except NomadAway:
            return None
        return self._follow(attempt, stub.id) if stub else None

    def _find(self, attempt: Attempt) -> JobStub | None:
        """The attempt's child as the list shows it, dead or alive."""
        dispatch = Dispatch.of(self._prefix, attempt)
        stubs = self._client.children(dispatch.child_prefix).jobs
        return next((stub for stub in stubs if dispatch.is_of(stub.meta)), None)

    def _verdict(self, attempt: Attempt, stub: JobStub) -> Ended | Vanished | None:
        return verdict(self._client, stub.id, lambda: self.log_tail(attempt))

    def _log(self, child: str, limit: int = 4096) -> bytes:
        """The end of what a child printed; why it cannot be read, where that is in our hands."""
        try:
            allocations = self._client.allocations(child)
            if not allocations:
                return b""
            name = allocations[-1].id
            errors = self._client.log_tail(name, TASK, "stderr", limit)
            room = limit - len(errors)
            output = self._client.log_tail(name, TASK, "stdout", room) if room else b""
        except NomadRefused as error:
            return f"(the log was not kept: {error.why})\n".encode()
        except (NotThere, NomadAway):
            return b""
        between = b"\n" if output and errors and not output.endswith(b"\n") else b""
        return (output + between + errors)[-limit:]

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise RunnerClosed
