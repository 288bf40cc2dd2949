"""Tells a person how a run goes, line by line as steps end."""

from __future__ import annotations

import re
import threading

from registry.artifacts.manifest import Manifest
from registry.command import Console
from registry.errors import PenstockError


class Watcher:
    """A `pipelines.events.Observer` that writes to a console, from many threads.

    Args:
        total: steps that are missing.
        brief: leave out the lines of artifacts that were made; there may be thousands.
    """

    def __init__(self, console: Console, total: int, *, brief: bool = False) -> None:
        self._console = console
        self._total = total
        self._brief = brief
        self._done = 0
        self._running: dict[str, str] = {}
        self._reasons: set[str] = set()
        self._lock = threading.Lock()

    def waiting(self, step: str, reason: str) -> None:
        """Tell a reason once, whatever its numbers: hundreds of steps may wait for the same."""
        kind = re.sub("[0-9]+", "#", reason.partition(";")[0])
        with self._lock:
            if kind in self._reasons:
                return
            self._reasons.add(kind)
        self._tell("waiting", step, reason)

    def started(self, step: str, attempt: int, size: str) -> None:
        """Show the step among those that run."""
        again = f", attempt {attempt}" if attempt > 1 else ""
        with self._lock:
            self._running[step] = f"{step} ({size}{again})"
            self._progress()

    def retried(self, step: str, reason: str) -> None:
        """Tell that an attempt failed."""
        self._tell("again", step, reason)

    def committed(self, step: str, manifest: Manifest) -> None:
        """Tell that an artifact is there."""
        seconds = manifest.resources.get("wall_s")
        took = f"  {seconds:.1f} s" if seconds is not None else ""
        self._tell("made", step, f"{manifest.key[:16]}{took}", done=1)

    def decided(self, step: str, outcome: str) -> None:
        """Tell the verdict."""
        self._tell("decided", step, outcome, done=1)

    def failed(self, step: str, error: PenstockError) -> None:
        """Tell what failed."""
        self._tell("failed", step, error.why or error.what)

    def _tell(self, what: str, step: str, how: str, done: int = 0) -> None:
        with self._lock:
            self._done += done
            if what not in ("again", "waiting"):
                self._running.pop(step, None)
            if what != "made" or not self._brief:
                style = "red" if what == "failed" else ""
                self._console.line(f"{what:<8} {step:<38} {how}", style)
            self._progress()

    def _progress(self) -> None:
        running = list(self._running.values())
        more = f" and {len(running) - 1} more" if len(running) > 1 else ""
        label = f"running {running[0]}{more}; steps done" if running else "steps done"
        self._console.progress(label, min(self._done, self._total), self._total)
