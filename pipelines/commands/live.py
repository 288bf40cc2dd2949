"""Watches a run that goes on in whatever process, through the records it leaves."""

from __future__ import annotations

import time
from collections.abc import Iterator

from pipelines.history import Historian, History, Step, StepState
from pipelines.spelled import elapsed, head, how, is_busy, row, spell, summary
from registry.command import Console

#: Seconds between two looks.
PAUSE = 1.0
#: Steps that were made last, to show on a terminal.
_RECENT = 6


def watch(historian: Historian, console: Console) -> History:
    """Tell what changes until the run is over; returns how it stood at last.

    On a terminal the run is drawn anew at each look. Elsewhere each change is a line. A run of
    another machine that died is never over: nobody can tell.
    """
    states: dict[str, tuple[StepState, int]] = {}
    while True:
        history = historian.read()
        if console.live:
            console.frame(list(_frame(history)))
        else:
            for line, style in _changes(history, states):
                console.line(line, style)
        if history.is_over:
            return history
        time.sleep(PAUSE)


def _frame(history: History) -> Iterator[tuple[str, str]]:
    """A run as a screen: itself, what is under way, what failed, what was made last."""
    for label, value, style in head(history):
        yield f"{label:<10} {value}", style
    yield f"{'so far':<10} {summary(history)}, {spell(elapsed(history))}", "bold"
    yield "", ""
    for step in history.steps:
        if is_busy(step):
            yield _line(step, history.at), ""
    for step in history.of("failed", "lost"):
        yield _line(step, history.at), "red"
    for step in _last_made(history):
        yield _line(step, history.at), "dim"
    for step in history.of("waiting"):
        yield f"{step.state:<10} {step.label:<40} {step.why}", "dim"


def _last_made(history: History) -> list[Step]:
    made = sorted(history.of("made"), key=lambda step: step.tries[-1].ended or history.at)
    return made[::-1][:_RECENT]


def _line(step: Step, now: float) -> str:
    state, label, key, size, _, seconds, note, _ = row(step, now)
    return f"{state:<10} {label:<40} {key}  {size:<2} {seconds:>6} s  {note}".rstrip()


def _changes(
    history: History, states: dict[str, tuple[StepState, int]]
) -> Iterator[tuple[str, str]]:
    """A line for each step that stands otherwise than in `states`, which is brought up to date."""
    first = not states
    for step in history.steps:
        now = (step.state, len(step.tries))
        if states.get(step.label) == now:
            continue
        states[step.label] = now
        quiet = step.state in ("there", "waiting", "left") or (first and step.state == "made")
        if not quiet:
            number = f", attempt {len(step.tries)}" if len(step.tries) > 1 else ""
            text = f"{step.state:<10} {step.label:<40} {(step.key or '')[:16]}{number}  {how(step)}"
            yield text.rstrip(), "red" if step.state in ("failed", "lost") else ""
    if first:
        yield f"{'so far':<10} {summary(history)}", ""
