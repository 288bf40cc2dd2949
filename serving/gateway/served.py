"""A generation as the gateway sees it: what clients send it, its model, and the stages around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from registry.models.bundle import Bundle
from registry.models.places import Leg as Place
from registry.models.signature import Matrix, Signature
from registry.models.stages import Stages
from serving.errors import RequestError
from serving.gateway.exchange import GOOD
from serving.gateway.inline import Inline
from serving.gateway.inputs import RowEncoder
from serving.gateway.leg import Leg, StageLeg, digest, request_of
from serving.gateway.metrics import Tally
from serving.gateway.protocols.template import Template
from serving.gateway.seats import Frame
from serving.gateway.trial import Trial
from serving.gateway.work import Stale, Work
from serving.messages import Announce
from serving.payloads import PayloadMemory

#: Digits of the manifest digest that name a version in answers.
VERSION_DIGITS = 16


class Served(Leg):
    """One generation of one model, and the leg of that model itself.

    `model` is what the model takes and gives, `signature` what clients send and get. `memory` is
    where payloads go. `tally` is what is counted of its version. `slow` is in seconds: see `Trial`.
    """

    place: Place = "model"

    def __init__(
        self,
        announced: Announce,
        model: Signature,
        share: float = 0.0,
        slow: float = 0.0,
        *,
        stages: Stages | None = None,
        memory: PayloadMemory | None = None,
        tally: Tally | None = None,
    ) -> None:
        super().__init__(share)
        stages = stages or Stages()
        self.announced = announced
        self.signature = stages.public(model)
        self.stages = stages
        #: Where its first requests are counted, if they are to be reported.
        self.trial = Trial(announced.trial, slow) if announced.trial else None
        self.tally = tally or Tally()
        self.encoder = RowEncoder(self.signature, memory)
        # Without a stage before it the same rows still go another way if there is one after it.
        self.encoding = digest(model, stages.pre.identity if stages.pre else bool(stages.post))
        #: Where its requests go, in order.
        self.legs: dict[Place, Leg] = {}
        if stages.pre:
            self.legs["pre"] = StageLeg(self, "pre", stages.pre, share)
        self.legs["model"] = self
        if stages.post:
            self.legs["post"] = StageLeg(self, "post", stages.post, share)
        #: The version that answers name: the first digits of the manifest's digest.
        self.version = announced.version[:VERSION_DIGITS]
        self.template = Template(announced.model, self.version, self.signature)
        self.labels = labels_of(announced)
        #: What lines of the log say of it.
        self.log_fields = {
            "model": announced.model, "version": self.version, "revision": announced.revision
        }  # fmt: skip
        self._frames: dict[tuple[bytes, bytes], Frame] = {}
        self.headers = (
            f"x-model-name: {announced.model}\r\nx-model-version: {self.version}\r\n"
            f"x-model-revision: {announced.revision}\r\n"
        ).encode()

    @classmethod
    def read(
        cls,
        announced: Announce,
        share: float,
        slow: float,
        memory: PayloadMemory,
        tally: Tally,
        inline_rows: int = 0,
    ) -> Served:
        """Read the bundle in the announced folder. Raises BadData, NotFound."""
        bundle = Bundle.read(Path(announced.folder))
        stages = bundle.header.stages
        served = cls(
            announced, bundle.signature, share, slow, stages=stages, memory=memory, tally=tally
        )
        served.inline = Inline.of(bundle, inline_rows)
        return served

    @property
    def served(self) -> Served:
        """Itself."""
        return self

    @property
    def staged(self) -> bool:
        """Whether its requests pass a stage."""
        return len(self.legs) > 1

    @property
    def entry(self) -> Leg:
        """Where its requests go first."""
        return self.legs.get("pre", self)

    def after(self, place: Place) -> Leg | None:
        """Where they go after `place`; None: they are done."""
        places = list(self.legs)
        follows = places[places.index(place) + 1 :]
        return self.legs[follows[0]] if follows else None

    @property
    def number(self) -> int:
        """The generation's number."""
        return self.announced.generation

    @property
    def at_work(self) -> bool:
        """Whether a process of this generation still has a batch."""
        return any(leg.busy for leg in self.legs.values())

    @property
    def ready(self) -> bool:
        """Whether a process is there at each place."""
        return all(leg.links for leg in self.legs.values())

    def names(self, version: str) -> bool:
        """Whether a client that writes `version` means this generation."""
        return version in (self.version, self.announced.version, str(self.announced.revision))

    def encode(self, source: Any) -> Matrix:
        """Encode a decoded request for the model. Raises RequestError; Stale if a stage is first."""
        if "pre" in self.legs:
            raise Stale
        return self.rows_of(request_of(source, self))

    def rows_of(self, request: Any) -> Matrix:
        """A decoded request as the rows of `entry`. Raises RequestError."""
        matrix: Matrix = request.encode(self.encoder)
        if not len(matrix):
            raise RequestError("the request has no rows")
        return matrix

    def frame(self, around: tuple[bytes, bytes]) -> Frame:
        """An answer that is a number with what is `around` it, for the fast path."""
        found = self._frames.get(around)
        if found is None:
            found = self._frames[around] = Frame.of(GOOD, self.headers, *around)
        return found

    def answered(self, work: Work, now: float) -> None:
        """Count the requests of a work that are answered with a prediction."""
        self.observe(work.requests, now - work.admitted, work.dispatched - work.admitted)

    def observe(self, requests: int, taken: float, waited: float) -> None:
        """Count requests that took so many seconds, of which so many in the queue."""
        self.tally.request.observe(taken, requests)
        self.tally.queue.observe(waited, requests)

    def count(self, rows: int, compute: float, handed: float | None) -> None:
        """Count a batch of the model."""
        tally = self.tally
        tally.rows.observe(rows)
        tally.compute.observe(compute)
        if handed is not None:
            tally.link.observe(handed)


def labels_of(announced: Announce) -> tuple[tuple[str, str], ...]:
    """The labels of what is counted of a version."""
    return (("model", announced.model), ("version", announced.version[:VERSION_DIGITS]))
