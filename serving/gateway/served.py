"""A generation as the gateway sees it: a signature to encode for, and links to workers."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from registry.models.bundle import Bundle
from registry.models.signature import Matrix, Signature
from serving.errors import RequestError
from serving.gateway.batcher import Batch
from serving.gateway.inputs import RowEncoder
from serving.gateway.metrics import Tally
from serving.gateway.protocols.template import Template
from serving.gateway.trial import Trial
from serving.link import GatewayEnd
from serving.messages import Announce

#: Digits of the manifest digest that name a version in answers.
VERSION_DIGITS = 16


class Served:
    """One generation of one model. Implements `work.Target`.

    `share`, from 0 to below 1, is where in the row of workers this gateway begins to look for an
    idle one: several gateways that began alike would all pick the same worker, and leave the rest.
    `slow` is in seconds: see `Trial`.
    """

    def __init__(
        self, announced: Announce, signature: Signature, share: float = 0.0, slow: float = 0.0
    ) -> None:
        self.announced = announced
        self.signature = signature
        self.encoding = hashlib.sha256(msgspec.json.encode(signature)).hexdigest()
        self.links: dict[int, GatewayEnd[Batch]] = {}
        self._share = share
        #: Where its first requests are counted, if they are to be reported.
        self.trial = Trial(announced.trial, slow) if announced.trial else None
        #: What is counted of its version; the gateway puts a shared one here.
        self.tally = Tally()
        self.encoder = RowEncoder(signature)
        #: The version that answers name: the first digits of the manifest's digest.
        self.version = announced.version[:VERSION_DIGITS]
        self.template = Template(announced.model, self.version, signature)
        self.labels = (("model", announced.model), ("version", self.version))
        #: What lines of the log say of it.
        self.log_fields = {
            "model": announced.model, "version": self.version, "revision": announced.revision
        }  # fmt: skip
        self.headers = (
            f"x-model-name: {announced.model}\r\nx-model-version: {self.version}\r\n"
            f"x-model-revision: {announced.revision}\r\n"
        ).encode()

    @classmethod
    def read(cls, announced: Announce, share: float = 0.0, slow: float = 0.0) -> Served:
        """Read the signature from the announced folder. Raises BadData, NotFound."""
        return cls(announced, Bundle.read(Path(announced.folder)).signature, share, slow)

    def join(self, worker: int, link: GatewayEnd[Batch]) -> None:
        """Use a link to one more worker."""
        order = sorted([*self.links, worker])
        first = int(self._share * len(order))
        self.links[worker] = link
        self.links = {number: self.links[number] for number in order[first:] + order[:first]}

    @property
    def number(self) -> int:
        """The generation's number."""
        return self.announced.generation

    @property
    def busy(self) -> bool:
        """Whether a worker of this generation still has a batch."""
        return any(link.loans for link in self.links.values())

    def names(self, version: str) -> bool:
        """Whether a client that writes `version` means this generation."""
        return version in (self.version, self.announced.version, str(self.announced.revision))

    def encode(self, source: Any) -> Matrix:
        """Encode a decoded request for this signature. Raises RequestError."""
        matrix: Matrix = source.encode(self.encoder)
        if not len(matrix):
            raise RequestError("the request has no rows")
        return matrix
