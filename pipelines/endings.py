"""What is known of an attempt that has ended, in the words of the dispatcher."""

from __future__ import annotations

from pipelines.runners.states import Ended, Kind
from registry.artifacts.attempt import AttemptEnd


def recorded(end: AttemptEnd) -> Ended:
    """The end of an attempt as another pipeline recorded it."""
    kind = Kind(end.kind) if end.kind in set(Kind) else None
    return Ended(end.exit_code, None, kind, reason=end.reason)


def last_line(log: bytes) -> str:
    """The last line that says something, at most 500 characters of it; empty if there is none."""
    lines = [line for line in log.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:500] if lines else ""
