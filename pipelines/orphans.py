"""Jobs that nobody waits for: their attempt is closed, or their pipeline is gone.

A job is found in the runner's own world and led back to its attempt record, so what another
environment started is not touched. Whether a pipeline is there is known of a process of this
machine by its id and birth, and of a pipeline that is a task of Nomad by its allocation. Of one on
another machine nothing is known; its jobs are left until their deadline has passed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from pipelines.runners.protocol import LiveJob, Runner
from pipelines.runs import Run, list_runs, read_run
from registry.artifacts.attempt import Attempt, end_of, read_attempt
from registry.artifacts.store.protocol import Store
from registry.errors import BadData, NotFound

#: The newest runs among which one is looked for that may have adopted a job.
RUNS = 50


@dataclass(frozen=True)
class Orphan:
    """A job that lives, and why nobody waits for it.

    `taken_over` names a run that lives and may have found the job again; then it is not for sure.
    """

    job: LiveJob
    attempt: Attempt
    why: str
    taken_over: str = ""


def find_orphans(store: Store, runner: Runner) -> list[Orphan]:
    """The orphans among the jobs that `runner` sees, as far as this environment knows them.

    Raises:
        RunnerAway: the runner's world cannot be reached.
    """
    pairs = [(job, attempt) for job in runner.live() if (attempt := _attempt(store, job))]
    if not pairs:
        return []
    others = [run for run, end in list_runs(store, RUNS) if end is None]
    found = (_judged(store, runner, others, *pair) for pair in pairs)
    return [orphan for orphan in found if orphan is not None]


def _attempt(store: Store, job: LiveJob) -> Attempt | None:
    """The attempt whose job it is; None for that of another environment."""
    try:
        attempt = read_attempt(store, job.record)
    except (NotFound, BadData):
        return None
    return attempt if job.is_of(attempt) else None


def _judged(
    store: Store, runner: Runner, others: list[Run], job: LiveJob, attempt: Attempt
) -> Orphan | None:
    if why := _closed(store, attempt):
        return Orphan(job, attempt, why)
    why = _abandoned(store, runner, attempt)
    if not why:
        return None
    heirs = (
        run.run for run in others if run.run != attempt.run and _lives(runner, run) is not False
    )
    return Orphan(job, attempt, why, next(heirs, ""))


def _closed(store: Store, attempt: Attempt) -> str:
    """Why nothing can come of the attempt any more; empty when something can."""
    try:
        end = end_of(store, attempt)
    except NotFound:
        late = time.time() - attempt.deadline
        return f"it may not commit since {late:.0f} s" if late > 0 else ""
    return f"its attempt has ended ({end.kind})"


def _abandoned(store: Store, runner: Runner, attempt: Attempt) -> str:
    """Why the run that started it does not wait for it; empty when it may."""
    try:
        run, end = read_run(store, attempt.run)
    except NotFound:  # collected, or never recorded by something that is no run
        return ""
    if end is not None:
        return f"its run has ended ({end.status})"
    return "its pipeline is gone" if _lives(runner, run) is False else ""


def _lives(runner: Runner, run: Run) -> bool | None:
    """Whether the pipeline of a run is there; None where nobody can tell from here."""
    if run.process is None:
        return None
    if run.process.allocation:
        return runner.pipeline_lives(run.process.allocation)
    return run.process.lives
