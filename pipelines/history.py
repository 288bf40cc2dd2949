"""What a run did and does, put together from the store and from this machine's jobs.

Nothing here needs the run's own process: plan, attempts and ends are records. Read again, it reads
only what is new.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.runners.folder import JobFolder
from pipelines.runners.sizes import SIZES, Size
from pipelines.runners.states import Running, Starting, Unknown, Vanished
from pipelines.runs import PlannedStep, Run, RunEnd, RunState, read_run, state_of, unix
from pipelines.stop import StopRequest
from registry.aliases.decision import Decision
from registry.artifacts import layout
from registry.artifacts.attempt import Attempt
from registry.artifacts.catalog import Catalog, decode_or_none, title
from registry.artifacts.journal import Journal, Tried
from registry.artifacts.manifest import Manifest
from registry.artifacts.store.protocol import Store
from registry.errors import BadData, NotFound
from registry.lineage import Lineage

#: there: before the run. waiting: planned, not begun. left: planned, and the run ended before.
#: elsewhere: another machine has it. overdue: that machine's deadline has passed.
#: queued, starting, running, lost: as the runner of this machine says.
StepState = Literal[
    "there", "made", "decided", "running", "starting", "queued", "elsewhere", "overdue", "lost",
    "waiting", "failed", "left",
]  # fmt: skip
BUSY: frozenset[StepState] = frozenset({"running", "starting", "queued", "elsewhere", "overdue"})


@dataclass(frozen=True)
class Try:
    """One attempt at a step. `started` and `ended` are Unix seconds; None while unknown.

    `kind` is how it ended ("committed" or a failure kind), empty before. `used` holds peak_mb,
    cpu_s and wall_s as far as they are known.
    """

    attempt: Attempt
    state: StepState
    kind: str
    reason: str
    started: float
    ended: float | None
    used: dict[str, float]
    has_log: bool

    @property
    def size(self) -> Size | None:
        """What the attempt was given."""
        return SIZES.get(self.attempt.size)


@dataclass(frozen=True)
class Step:
    """One step of a run: what became of it, and why it was to run."""

    label: str
    state: StepState
    why: str
    key: str | None
    path: str | None
    tries: list[Try]


@dataclass(frozen=True)
class History:
    """A run as it stands at the Unix time `at`."""

    run: Run
    end: RunEnd | None
    stop: StopRequest | None
    state: RunState
    steps: list[Step]
    decisions: list[Decision]
    at: float

    def of(self, *states: StepState) -> list[Step]:
        """The steps in one of these states."""
        return [step for step in self.steps if step.state in states]

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen in it."""
        return self.end is not None or (self.state == "interrupted" and not self.of(*BUSY))


class Historian:
    """Reads the history of one run, again and again.

    Args:
        var: the folder of this machine, where its jobs are.
        keys: the recipe keys that the run came to, which saves a look at all other attempts.
    """

    def __init__(
        self, store: Store, var: Path, run: str, keys: Sequence[str] | None = None
    ) -> None:
        self.catalog = Catalog(store)
        self._store = store
        self._jobs = var.absolute() / "jobs"
        self._run = run
        self._keys = keys
        self._journal: Journal | None = None
        self._queues = True

    def read(self) -> History:
        """The run now. Raises NotFound, BadData."""
        run, end = read_run(self._store, self._run)  # First: what ended before is in what follows.
        state = state_of(run, end)
        decisions = self._decisions()
        steps = self._steps(run, end, decisions)
        stop = self._stop()
        return History(run, end, stop, state, steps, decisions, time.time())

    def manifest(self, step: Step) -> Manifest | None:
        """The manifest of a step's artifact, if it is there."""
        return self.catalog.at(step.path) if step.path else None

    def log_tail(self, attempt: Attempt, lines: int) -> list[str]:
        """The last lines that an attempt printed, as the store keeps them."""
        try:
            log = self._store.get(layout.attempt_log_path(attempt.key, attempt.number))
        except NotFound:
            return []
        return log.decode(errors="replace").rstrip().splitlines()[-lines:]

    def _steps(self, run: Run, end: RunEnd | None, decisions: list[Decision]) -> list[Step]:
        tries, state = self._tries(run, end), state_of(run, end)
        self._queues = state == "running"
        steps = [self._planned(step, state, tries, bool(decisions)) for step in run.planned]
        steps += [self._unplanned(found) for found in tries.values()]
        return steps

    def _tries(self, run: Run, end: RunEnd | None) -> dict[str, list[Tried]]:
        """The attempts of a run by key, and those of others that it waited for."""
        wanted = {step.key for step in run.planned if step.action == "run"}
        began, ended = unix(run.started), unix(end.ended) if end else float("inf")
        found: dict[str, list[Tried]] = {}
        for tried in self._journal_of(run, wanted).tries():
            own = tried.attempt.run == run.run
            last = tried.end.observed if tried.end else ended
            open_then = last >= began and tried.attempt.created <= ended
            if own or (tried.attempt.key in wanted and open_then):
                found.setdefault(tried.attempt.key, []).append(tried)
        return found

    def _journal_of(self, run: Run, keys: set[str | None]) -> Journal:
        """The attempts that can belong to the run, as they are now."""
        if self._journal is None:
            self._journal = Journal(self._store, run.run, filter(None, keys))
        for key in [""] if self._keys is None else self._keys:
            self._journal.refresh(key)
        return self._journal

    def _planned(
        self, step: PlannedStep, state: RunState, tries: dict[str, list[Tried]], decided: bool
    ) -> Step:
        """A planned step; its attempts are taken from `tries`."""
        key = step.key or next(
            (k for k, v in tries.items() if v[0].attempt.step == step.step), None
        )
        mine = tries.pop(key, []) if key else []
        if mine:
            return self._tried(mine, step.step, step.why)
        path = step.path if step.action == "reuse" else None
        return Step(step.step, _untried(step, state, decided), step.why, step.key, path, [])

    def _unplanned(self, found: list[Tried]) -> Step:
        attempt = found[0].attempt
        recipe = attempt.spec.recipe.recipe()
        return self._tried(found, attempt.step or title(recipe, attempt.kind), "")

    def _tried(self, found: list[Tried], label: str, why: str) -> Step:
        path = layout.manifest_path(found[0].attempt.spec.recipe.recipe())
        tries = [self._try(tried, path) for tried in found]
        return Step(label, tries[-1].state, why, found[0].attempt.key, path, tries)

    def _try(self, tried: Tried, path: str) -> Try:
        attempt, end = tried.attempt, tried.end
        if end is None:
            state = self._state_now(attempt, path)
            return Try(attempt, state, "", "", attempt.created, None, {}, tried.has_log)
        state = "failed" if tried.failed else "made"
        used = dict(end.usage)
        started = max(attempt.created, end.observed - used.get("wall_s", float("inf")))
        return Try(attempt, state, end.kind, end.reason, started, end.observed, used, tried.has_log)

    def _state_now(self, attempt: Attempt, path: str) -> StepState:
        """The state of an attempt whose end nobody recorded."""
        if self._exists(path):
            return "made"
        if attempt.runner != "local" or attempt.host != platform.node():
            return "overdue" if time.time() > attempt.deadline else "elsewhere"
        try:
            state = JobFolder(self._jobs, attempt).state()
        except BadData:
            return "lost"
        if isinstance(state, Unknown):  # The queue is in the memory of the run's process.
            return "queued" if self._queues or attempt.run != self._run else "left"
        kinds: dict[type, StepState] = {
            Starting: "starting", Running: "running", Vanished: "lost",
        }  # fmt: skip
        return kinds.get(type(state), "running")  # It ended, and its pipeline will say how.

    def _exists(self, path: str) -> bool:
        try:
            self._store.size(path)
        except NotFound:
            return False
        return True

    def _decisions(self) -> list[Decision]:
        """What the run decided; its verdicts name it."""
        found = Lineage(self.catalog).decisions.values()
        return [decision for decision in found if decision.why.startswith(f"run {self._run}:")]

    def _stop(self) -> StopRequest | None:
        try:
            return decode_or_none(self._store.get(layout.stop_path(self._run)), StopRequest)
        except NotFound:
            return None


def _untried(step: PlannedStep, state: RunState, decided: bool) -> StepState:
    """The state of a step that has no attempt."""
    if step.action == "reuse":
        return "there"
    if state == "succeeded" or (decided and step.step.startswith("publish ")):
        return "decided" if step.action == "decide" else "there"
    return "waiting" if state in ("running", "unfinished") else "left"
