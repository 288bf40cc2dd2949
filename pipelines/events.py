"""What a run tells whoever watches it."""

from __future__ import annotations

from typing import Protocol

from registry.artifacts.manifest import Manifest
from registry.errors import PenstockError


class Observer(Protocol):
    """Told about each step of a run, from many threads. `step` reads like "train flights …"."""

    def waiting(self, step: str, reason: str) -> None:
        """The step waits, for room or for another run's attempt."""

    def started(self, step: str, attempt: int, size: str) -> None:
        """An attempt of the step was handed to the runner."""

    def retried(self, step: str, reason: str) -> None:
        """An attempt failed and another follows."""

    def committed(self, step: str, manifest: Manifest) -> None:
        """The artifact of the step is there."""

    def decided(self, step: str, outcome: str) -> None:
        """A decision was recorded."""

    def failed(self, step: str, error: PenstockError) -> None:
        """The step failed for this run."""


class Silent:
    """An observer that says nothing."""

    def waiting(self, step: str, reason: str) -> None: ...
    def started(self, step: str, attempt: int, size: str) -> None: ...
    def retried(self, step: str, reason: str) -> None: ...
    def committed(self, step: str, manifest: Manifest) -> None: ...
    def decided(self, step: str, outcome: str) -> None: ...
    def failed(self, step: str, error: PenstockError) -> None: ...
