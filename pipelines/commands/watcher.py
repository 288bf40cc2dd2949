"""Tells a person how a run goes, line by line as steps end."""

from __future__ import annotations

import threading

from registry.artifacts.manifest import Manifest
from registry.command import Console
from registry.errors import PenstockError


class Watcher:
    """A `pipelines.events.Observer` that writes to a console, from many threads."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def waiting(self, step: str, reason: str) -> None:
        """A step that waits shows on a terminal by the others that go on."""

    def started(self, step: str, attempt: int, size: str) -> None:
        """Show it in the progress line."""
        again = f", attempt {attempt}" if attempt > 1 else ""
        with self._lock:
            self._console.progress(f"{step} ({size}{again}); steps done", self._done, self._total)

    def retried(self, step: str, reason: str) -> None:
        """Tell that an attempt failed."""
        self._tell("again", step, reason, done=False)

    def committed(self, step: str, manifest: Manifest) -> None:
        """Tell that an artifact is there."""
        seconds = manifest.resources.get("wall_s")
        took = f"  {seconds:.1f} s" if seconds is not None else ""
        self._tell("made", step, f"{manifest.key[:16]}{took}")

    def decided(self, step: str, outcome: str) -> None:
        """Tell the verdict."""
        self._tell("decided", step, outcome)

    def failed(self, step: str, error: PenstockError) -> None:
        """Tell what failed."""
        self._tell("failed", step, error.why or error.what, done=False)

    def _tell(self, what: str, step: str, how: str, *, done: bool = True) -> None:
        with self._lock:
            self._done += done
            self._console.line(f"{what:<8} {step:<44} {how}", "red" if what == "failed" else "")
            self._console.progress("steps done", min(self._done, self._total), self._total)
