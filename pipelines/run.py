"""One run: schedule what is missing, wait for it, tell how it ended."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import luigi

from pipelines.errors import RunFailed
from pipelines.plan import is_complete, walk
from pipelines.predict import Predict
from pipelines.runners.states import Kind
from pipelines.runs import RunEnd, end_run, now
from pipelines.session import Session, using
from pipelines.task import StepTask
from pipelines.worker import ThreadedFactory
from registry.errors import PenstockError


@dataclass(frozen=True)
class Result:
    """What a run did: the keys it committed, and seconds it took. `run` is None if nothing ran."""

    run: str | None
    made: list[str]
    seconds: float


def root_task(usecase: str, date: dt.date, changes: Mapping[str, Any] | None = None) -> Predict:
    """The last step of a use case on a date; everything else hangs on it."""
    parameters: dict[str, Any] = {"usecase": usecase, "date": date, "changes": dict(changes or {})}
    return Predict(**parameters)


def run(session: Session, roots: Sequence[StepTask]) -> Result:
    """Make `roots` and everything they require; only what is missing runs.

    Raises:
        RunFailed: steps failed; what was committed stays.
        PenstockError: the parameters or the store are unusable; nothing was started.
    """
    started = time.monotonic()
    with using(session):
        # Walked once before, so that a bad parameter is one clear error and not a failed task.
        incomplete = [task for task in walk(roots) if not is_complete(task)]
        if not incomplete:
            return Result(None, [], time.monotonic() - started)
        outcome = _build(session, roots)
        result = Result(session.begin(), session.made, time.monotonic() - started)
        _record(session, outcome, result)
    _raise_failures(session, outcome, len(incomplete))
    return result


def _build(session: Session, roots: Sequence[StepTask]) -> Any:
    logging.getLogger("luigi-interface").setLevel(logging.ERROR)
    return luigi.build(
        list(roots),
        worker_scheduler_factory=ThreadedFactory(),
        local_scheduler=True,
        workers=session.settings.workers,
        detailed_summary=True,
        log_level="CRITICAL",
    )


def _record(session: Session, outcome: Any, result: Result) -> None:
    failed = [str(error) for error in session.failures]
    status = "failed" if failed or not outcome.scheduling_succeeded else "succeeded"
    if any(getattr(error, "failure", None) is Kind.STOPPED for error in session.failures):
        status = "stopped"
    end = RunEnd(session.run, status, result.made, failed, now(), result.seconds)
    end_run(session.store, end)


def _raise_failures(session: Session, outcome: Any, steps: int) -> None:
    if session.failures:
        # Steps that were decided on the way were not counted before.
        left = max(0, steps - len(session.done) - len(session.failures))
        raise RunFailed(session.failures, left)
    if outcome.status.name not in ("SUCCESS", "SUCCESS_WITH_RETRY"):
        raise PenstockError("the run did not finish", outcome.one_line_summary, "Run it again.")
