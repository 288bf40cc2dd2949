"""How often a step is tried within a run, at which size, and after what pause."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.runners.sizes import next_size
from pipelines.runners.states import Kind, Remedy, remedy

#: The longest pause before a replacement, in seconds.
LONGEST_PAUSE = 60.0


@dataclass(frozen=True)
class Policy:
    """How long an attempt may take (seconds), and how many a run makes for one step.

    `attempts` are for what the job itself may have to do with; `replacements` come on top, for jobs
    whose machine was lost or could not run them, after a pause that begins with `pause` seconds and
    doubles. `in_flight` attempts may be under way at once; 0 means any number.
    """

    timeout: float = 3600.0
    attempts: int = 3
    replacements: int = 5
    pause: float = 1.0
    in_flight: int = 0


@dataclass
class Tries:
    """What this run has tried for one step, and the size of the next attempt."""

    policy: Policy
    size: str
    made: int = 0
    replaced: int = 0
    climbed: bool = False
    _replaces: bool = False

    def opened(self) -> None:
        """Count an attempt that this run opened, unless it stands in for one that was lost."""
        self.made += not self._replaces
        self._replaces = False

    def next_pause(self, kind: Kind, size: str) -> float | None:
        """Seconds to pause before another attempt; None when there will be none.

        Args:
            kind: how the last attempt failed.
            size: its size.
        """
        cure = remedy(kind)
        if cure is Remedy.REPLACE:
            return self._replace(size)
        larger = next_size(size) if cure is Remedy.NEXT_SIZE else size
        if cure is Remedy.STOP or larger is None or self.made >= self.policy.attempts:
            return None
        self.climbed |= larger != size
        self.size = larger
        return 0.0

    def _replace(self, size: str) -> float | None:
        if self.replaced >= self.policy.replacements:
            return None
        self.size = size
        self.replaced += 1
        self._replaces = True
        return float(min(LONGEST_PAUSE, self.policy.pause * 2 ** (self.replaced - 1)))
