"""The plan: what a run would do, and why, without doing any of it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from pipelines.errors import Undecided
from pipelines.index import Index
from pipelines.reasons import reason
from pipelines.runs import Action, PlannedStep
from pipelines.session import Session, using
from pipelines.task import ArtifactTask, StepTask
from registry.artifacts.layout import manifest_path

__all__ = ["Action", "PlannedStep", "is_complete", "plan", "walk"]


def plan(session: Session, roots: Sequence[StepTask]) -> list[PlannedStep]:
    """What running `roots` would do, requirements first; reads only.

    The session keeps it, for the record of a run that follows.

    Raises:
        UsageError: a parameter is off; names it.
    """
    with using(session):
        session.planned = [_planned(session, task) for task in walk(roots)]
    return session.planned


def walk(roots: Sequence[StepTask]) -> Iterator[StepTask]:
    """The steps that a run would look at, requirements first, each once.

    What lies below a complete step is not looked at, as in a run.
    """
    seen: set[str] = set()
    stack: list[tuple[Any, bool]] = [(root, False) for root in reversed(roots)]
    while stack:
        task, expanded = stack.pop()
        if expanded:
            yield task
        elif task.task_id not in seen:
            seen.add(task.task_id)
            stack.append((task, True))
            if not is_complete(task):
                stack += [(required, False) for required in reversed(task.foreseen())]


def _planned(session: Session, task: StepTask) -> PlannedStep:
    index = session.index
    complete = is_complete(task)
    if not isinstance(task, ArtifactTask):
        why = "decided before" if complete else "no verdict on the candidate yet"
        return PlannedStep(task.label, "reuse" if complete else "decide", why, None)
    try:
        recipe = task.recipe
    except Undecided as undecided:
        if complete:
            return PlannedStep(task.label, "reuse", "nothing to do", None)
        return PlannedStep(task.label, "decide", f"decided by {undecided.decider}", None, task.size)
    path = manifest_path(recipe)
    if complete:
        return PlannedStep(task.label, "reuse", "committed before", recipe.key, path=path)
    why, seconds = reason(index, recipe), _usual_seconds(index, task)
    size = session.sizing.first(recipe, task.size)
    return PlannedStep(task.label, "run", why, recipe.key, size, seconds, path)


def is_complete(task: StepTask) -> bool:
    """Luigi's `complete`, typed."""
    return bool(task.complete())  # type: ignore[no-untyped-call]


def _usual_seconds(index: Index, task: ArtifactTask) -> float | None:
    paths = index.paths(task.family, task.usecase)[-5:]
    times = [manifest.resources.get("wall_s") for manifest in index.readable(paths)]
    known = [seconds for seconds in times if seconds is not None]
    return round(statistics.median(known), 1) if known else None
