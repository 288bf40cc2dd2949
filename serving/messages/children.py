"""Messages between the supervisor, its forkserver, and the processes that load models."""

from __future__ import annotations

from typing import Any

import msgspec

from registry.models.places import Leg, Place
from serving.arena import Layout
from serving.messages.base import Message

# supervisor -> forkserver -----------------------------------------------------------------


class Fork(Message, frozen=True, tag=True):
    """Start a child in `role`. Descriptor: the child's end of its own control channel."""

    role: str
    title: str


class Forked(Message, frozen=True, tag=True):
    """The child of the oldest unanswered Fork runs. Descriptor: its pidfd."""

    pid: int


# supervisor -> worker ---------------------------------------------------------------------


class Load(Message, frozen=True, tag=True):
    """Load the bundle in `folder`, warm it up with batches up to `rows`, check its golden rows.

    `nice` is the niceness meanwhile; `idle`: only on cores that nothing else wants. `contract`, if not empty, is the folder of the bundle that is
    live: all that it takes must be taken. `place` is "model", or the stage that the child is to be.
    """

    folder: str
    rows: int
    threads: int
    log_level: str
    nice: int = 0
    idle: bool = False
    contract: str = ""
    place: Leg = "model"


class Attach(Message, frozen=True, tag=True):
    """Serve one more link. Descriptors: socket, inputs (read-only), outputs."""

    layout: Layout


class Loading(Message, frozen=True, tag=True):
    """The bundle's format is understood and its model is being opened."""


class Warming(Message, frozen=True, tag=True):
    """The model is open and runs its first batches."""


class Starving(Message, frozen=True, tag=True):
    """Loading on idle cores gets no time, since there are none."""


class Validated(Message, frozen=True, tag=True):
    """The golden rows agree; ready for links. `features` and `outputs` are column counts.

    `private` and `shared` are the bytes by which the process grew at most while it loaded: memory of
    its own, and mapped files that it shares with its siblings. `stages` tells the seconds of `load`,
    `warm` and `golden`. `places` are the stages that the bundle needs beside the model; `batch` is how
    many rows this process takes at once, 0 if any number.
    """

    features: int
    outputs: int
    private: int = 0
    shared: int = 0
    stages: dict[str, float] = msgspec.field(default_factory=dict)
    places: tuple[Place, ...] = ()
    batch: int = 0


class Answered(Message, frozen=True, tag=True):
    """The first batch is answered: this worker is of use. Sent once."""


class Reported(Message, frozen=True, tag=True):
    """An error that somebody should hear of (`registry.reports`). Gateways send it too."""

    event: dict[str, Any]


class Unfit(Message, frozen=True, tag=True):
    """The bundle must not serve; another try would end alike."""

    reason: str


ToForkserver = Fork
FromForkserver = Forked
ToWorker = Load | Attach
FromWorker = Loading | Warming | Validated | Answered | Starving | Unfit | Reported
