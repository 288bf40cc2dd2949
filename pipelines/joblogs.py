"""What attempts printed: kept in the store at their end, on this machine while they run."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from pathlib import Path

from pipelines.runners.folder import JobFolder
from pipelines.runners.shim import LOG
from pipelines.runners.states import Ended, Unknown, Vanished
from registry.artifacts import layout
from registry.artifacts.attempt import Attempt
from registry.artifacts.catalog import title
from registry.artifacts.store.protocol import Store
from registry.errors import BadData, NotFound


def step_of(attempt: Attempt) -> str:
    """How people read what an attempt is for."""
    return attempt.step or title(attempt.spec.recipe.recipe(), attempt.kind)


@dataclass
class JobLog:
    """The log of one attempt, read from the front on."""

    store: Store
    var: Path
    attempt: Attempt
    _offset: int = 0
    _rest: bytes = b""

    @property
    def here(self) -> Path | None:
        """The file that the job prints into, if this machine has it."""
        attempt = self.attempt
        if attempt.runner != "local" or attempt.host != platform.node():
            return None
        path = self._folder.path / LOG
        return path if path.is_file() else None

    @property
    def source(self) -> str:
        """Where the log comes from: "store", "this machine", or nowhere."""
        if self._kept() is not None:
            return "store"
        return "this machine" if self.here else ""

    def text(self) -> str:
        """All of it: what the store keeps, or else what is on this machine; empty without any."""
        data = self._kept()
        if data is None:
            data = self.here.read_bytes() if self.here else b""
        return data.decode(errors="replace")

    def fresh(self, final: bool = False) -> list[str]:
        """The lines printed since the last time; with `final`, the unfinished one as well."""
        data = self._rest + self._read_on()
        cut = len(data) if final else data.rfind(b"\n") + 1
        self._rest = data[cut:]
        return data[:cut].decode(errors="replace").splitlines()

    def has_ended(self) -> bool:
        """Whether nothing more will be printed, as far as can be told from here."""
        end = layout.attempt_end_path(self.attempt.key, self.attempt.number)
        if time.time() > self.attempt.deadline or self._exists(end):
            return True
        try:
            return self.here is not None and isinstance(self._folder.state(), Ended | Vanished)
        except BadData:
            return True

    def never_began(self) -> bool:
        """Whether this machine was to run it and did not: its pipeline ended before."""
        attempt = self.attempt
        if attempt.runner != "local" or attempt.host != platform.node():
            return False
        return isinstance(self._folder.state(), Unknown)

    @property
    def _folder(self) -> JobFolder:
        return JobFolder(self.var.absolute() / "jobs", self.attempt)

    def _read_on(self) -> bytes:
        path = self.here
        if path is None:
            data = self._kept() or b""
            fresh, self._offset = data[self._offset :], max(self._offset, len(data))
            return fresh
        with path.open("rb") as file:
            self._offset = min(
                self._offset, path.stat().st_size
            )  # A log that passes its limit is cut.
            file.seek(self._offset)
            fresh = file.read()
        self._offset += len(fresh)
        return fresh

    def _kept(self) -> bytes | None:
        try:
            return self.store.get(layout.attempt_log_path(self.attempt.key, self.attempt.number))
        except NotFound:
            return None

    def _exists(self, path: str) -> bool:
        try:
            self.store.size(path)
        except NotFound:
            return False
        return True
