"""Errors of pipelines.

```
PenstockError
├── JobFailed      the job of a step failed; the exit code tells how
├── RunFailed      some steps of a run failed; the others are committed
└── Undecided      a recipe depends on something that only a run will tell
```
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.runners.states import Kind
from registry.errors import PenstockError

#: For kinds that have a code of their own, whatever the job ended with.
_EXIT_CODES = {
    Kind.ARTIFACT_DOWNLOAD: 75,
    Kind.BAD_DATA: 65,
    Kind.DRIVER: 75,
    Kind.KILLED: 75,
    Kind.LOST: 75,
    Kind.NO_FIT: 77,
    Kind.OOM: 71,
    Kind.PREEMPTED: 75,
    Kind.SIGNAL: 75,
    Kind.STOPPED: 75,
    Kind.TEMPORARY: 75,
    Kind.TIMEOUT: 75,
}
#: The codes that mean something (`registry.errors`); any other, such as Python's 1, is a defect.
_KNOWN = {64, 66, 73, 74, 77, 78}


class JobFailed(PenstockError):
    """The job of a step failed and will not be tried again in this run."""

    def __init__(self, what: str, why: str, todo: str, kind: Kind, exit_code: int | None) -> None:
        super().__init__(what, why, todo)
        self.failure = kind
        self.kind = kind.value  # type: ignore[misc]  # of the instance, not the class
        self.exit_code = _EXIT_CODES.get(kind, exit_code if exit_code in _KNOWN else 70)  # type: ignore[misc]


class RunFailed(PenstockError):
    """Steps failed; `errors` holds one error each. What was committed stays committed."""

    kind = "run-failed"

    def __init__(self, errors: Sequence[PenstockError], left: int) -> None:
        first = errors[0]
        others = f" and {len(errors) - 1} more" if len(errors) > 1 else ""
        super().__init__(
            f"{len(errors)} step{'s' if len(errors) > 1 else ''} failed, {left} could not start",
            f"{first.what}{f' ({first.why})' if first.why else ''}{others}",
            first.todo or "What was committed stays; mend the cause and run again.",
        )
        self.errors = list(errors)
        codes = {error.exit_code for error in errors}
        self.exit_code = codes.pop() if len(codes) == 1 else 70  # type: ignore[misc]


class Undecided(PenstockError):
    """The recipe depends on a decision that has not been made; `decider` names who makes it."""

    kind = "undecided"

    def __init__(self, decider: str) -> None:
        super().__init__("the recipe is not known yet", f"decided by {decider}")
        self.decider = decider
