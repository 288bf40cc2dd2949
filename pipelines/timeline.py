"""When each attempt of a run waited and ran, as an SVG for a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import NamedTuple

from pipelines.history import History, Step, Try
from pipelines.runs import unix

#: Pixels of the drawing: its width, the parts for names and at the right, the height of a row and of the axis.
WIDTH, NAMES, RIGHT, ROW, AXIS = 1120, 270, 40, 22, 26
#: Rows that a person reads; of more, those that took longest are drawn.
MOST = 120
_KINDS = frozenset({"ingest", "features", "train", "evaluate", "predict"})
_TICKS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400)


class _Scale(NamedTuple):
    """From Unix seconds to pixels."""

    start: float
    seconds: float

    def x(self, when: float) -> float:
        """The place of a moment, within the drawing."""
        share = min(1.0, max(0.0, (when - self.start) / self.seconds))
        return round(NAMES + share * (WIDTH - NAMES - RIGHT), 1)


def timeline(history: History) -> str:
    """An SVG with a row for each step that had an attempt; empty where none had."""
    steps = chosen(history)
    if not steps:
        return ""
    began = unix(history.run.started)
    tries = [each for step in steps for each in step.tries]
    start = min(began, *(each.attempt.created for each in tries))
    end = max(each.ended or history.at for each in tries)
    scale = _Scale(start, max(end - start, 1.0))
    height = AXIS + ROW * len(steps) + 4
    usecase = str(history.run.asked.get("usecase", ""))
    rows = [
        row for n, step in enumerate(steps) for row in _row(step, n, usecase, scale, history.at)
    ]
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="When each step ran">'
        f"{''.join(_axis(scale, height))}{''.join(rows)}</svg>"
    )


def chosen(history: History) -> list[Step]:
    """The steps to draw, by the time of their first attempt."""
    tried = [step for step in history.steps if step.tries]
    longest = sorted(tried, key=lambda step: -_seconds(step, history.at))[:MOST]
    return sorted(longest, key=lambda step: (step.tries[0].attempt.created, step.tries[0].started))


def _seconds(step: Step, now: float) -> float:
    return (step.tries[-1].ended or now) - step.tries[0].attempt.created


def _axis(scale: _Scale, height: int) -> Iterator[str]:
    """A line and a label every so often, six to twelve of them."""
    every = next((tick for tick in _TICKS if scale.seconds / tick <= 12), _TICKS[-1])
    for seconds in range(0, int(scale.seconds) + 1, every):
        x = scale.x(scale.start + seconds)
        yield f'<line x1="{x}" x2="{x}" y1="{AXIS - 6}" y2="{height}"/>'
        yield f'<text class="soft" x="{x}" y="{AXIS - 12}">{_clock(seconds)}</text>'


def _clock(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds} s"
    hours, minutes = divmod(seconds // 60, 60)
    rest = f":{seconds % 60:02}" if not hours else ""
    return f"{hours} h {minutes:02}" if hours else f"{minutes}{rest} min"


def _row(step: Step, number: int, usecase: str, scale: _Scale, now: float) -> Iterable[str]:
    y = AXIS + number * ROW
    yield f'<text x="0" y="{y + 15}">{escape(_short(step.label, usecase))}</text>'
    for each in step.tries:
        yield from _bars(step, each, y, scale, now)


def _short(label: str, usecase: str) -> str:
    """The label without the use case, which is that of all steps, as far as there is room."""
    label = label.replace(f" {usecase} ", " ", 1)
    return label if len(label) <= 40 else f"{label[:39]}…"


def _bars(step: Step, each: Try, y: int, scale: _Scale, now: float) -> Iterator[str]:
    """The time from asking to starting, then the time of the job."""
    asked, started, ended = (
        scale.x(when) for when in (each.attempt.created, each.started, each.ended or now)
    )
    kind = each.attempt.kind if each.attempt.kind in _KINDS else "other"
    colour = "failed" if each.state == "failed" else kind
    busy = " busy" if each.ended is None else ""
    told = escape(
        f"{step.label}, attempt {each.attempt.number} ({each.attempt.size}): "
        f"{each.kind or each.state}, {(each.ended or now) - each.started:.1f} s after waiting "
        f"{each.started - each.attempt.created:.1f} s"
    )
    yield _bar("waited", asked, started, y + 8, 5, f"{told}")
    yield _bar(f"{colour}{busy}", started, ended, y + 4, 13, told)


def _bar(kind: str, left: float, right: float, y: int, height: int, told: str) -> str:
    width = max(round(right - left, 1), 0 if kind == "waited" else 2)
    return (
        f'<rect class="{kind}" x="{left}" y="{y}" width="{width}" height="{height}" rx="2">'
        f"<title>{told}</title></rect>"
    )
