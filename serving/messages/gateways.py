"""Messages between the supervisor and its gateways."""

from __future__ import annotations

from registry.models.places import Leg
from serving.arena import Layout
from serving.messages.base import Message
from serving.messages.children import Reported
from serving.options import Options

# supervisor -> gateway --------------------------------------------------------------------


class Start(Message, frozen=True, tag=True):
    """The gateway's first message. `number` tells it from the others of its kind.

    Descriptors: the listening socket, or for gRPC one that keeps the port; then, where there is a
    request log, its queue.
    """

    options: Options
    models: list[str]
    number: int = 0


class Tokens(Message, frozen=True, tag=True):
    """Who may ask: the SHA-256 of each token by the client's name. None: nobody, for now.

    Sent before Open where the service has tokens, and each time that they change.
    """

    digests: dict[str, str] | None


class Open(Message, frozen=True, tag=True):
    """Accept connections. Until then they wait in the listener's queue."""


class Announce(Message, frozen=True, tag=True):
    """A generation that will get links and then be made active. Answered by Announced or Failed."""

    model: str
    generation: int
    alias: str
    revision: int
    version: str
    folder: str
    since: float
    who: str
    #: The first requests whose outcomes are to be reported; 0: none.
    trial: int = 0


class Connect(Message, frozen=True, tag=True):
    """A link to a worker of a generation. Descriptors: socket, inputs, outputs (read-only)."""

    model: str
    generation: int
    worker: int
    layout: Layout
    place: Leg = "model"


class Activate(Message, frozen=True, tag=True):
    """From now on requests go to this generation. Answered by Activated."""

    model: str
    generation: int


class Suspend(Message, frozen=True, tag=True):
    """Answer requests with 503 and `reason`; with none, take them again.

    It is said of a generation: a gateway that has flipped to another goes on.
    """

    model: str
    generation: int
    reason: str


class Retire(Message, frozen=True, tag=True):
    """Let the batches of this generation finish, close its links, answer Retired."""

    model: str
    generation: int


class Notice(Message, frozen=True, tag=True):
    """How the last reload of a model ended, for the page and the metrics."""

    model: str
    revision: int
    result: str
    reason: str


class Tick(Message, frozen=True, tag=True):
    """The supervisor's loop turns."""


class Scraped(Message, frozen=True, tag=True):
    """The answer to a Scrape. Descriptor: a file that holds the text."""

    number: int


class Drain(Message, frozen=True, tag=True):
    """Not ready any more, and every answer closes its connection."""


class Close(Message, frozen=True, tag=True):
    """Accept no more connections, finish the requests that are there, then exit."""


# gateway -> supervisor --------------------------------------------------------------------


class Announced(Message, frozen=True, tag=True):
    """The generation is known, and can be made active."""

    model: str
    generation: int


class Activated(Message, frozen=True, tag=True):
    """The flip is done: no batch will start on another generation of this model."""

    model: str
    generation: int


class Retired(Message, frozen=True, tag=True):
    """No link of this generation is left."""

    model: str
    generation: int


class Hung(Message, frozen=True, tag=True):
    """A worker has not answered a batch in time. Its link is closed; the process is to be ended."""

    model: str
    generation: int
    worker: int


class Tried(Message, frozen=True, tag=True):
    """So many more of the first requests are over, and so many of these went badly."""

    model: str
    generation: int
    requests: int
    bad: int


class Failed(Message, frozen=True, tag=True):
    """A generation cannot be taken: its signature is not one that this gateway understands."""

    model: str
    generation: int
    reason: str


class Check(Message, frozen=True, tag=True):
    """A client asks to read the alias of this model afresh, now."""

    model: str


class Counts(Message, frozen=True, tag=True):
    """What this gateway has counted since it started: (name, labels, numbers) of some series.

    Sent after a Tick, so that a supervisor that does not listen is not sent more and more. `final`:
    these series begin anew in this gateway, should they come back.
    """

    series: list[tuple[str, tuple[tuple[str, str], ...], list[float]]]
    final: bool = False


class Scrape(Message, frozen=True, tag=True):
    """Somebody asks this gateway for the metrics of the service. Answered by Scraped."""

    number: int


ToGateway = (
    Start
    | Tokens
    | Open
    | Announce
    | Connect
    | Activate
    | Suspend
    | Retire
    | Notice
    | Tick
    | Scraped
    | Drain
    | Close
)
FromGateway = (
    Announced | Activated | Retired | Hung | Tried | Failed | Check | Counts | Scrape | Reported
)
