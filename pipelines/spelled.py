"""A run's history in words: what `status`, `status --watch` and the run page share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pipelines.history import BUSY, History, Step, StepState
from pipelines.runs import Run, asked_words, unix

#: Words for counts, in the order in which they are told.
_COUNTS: tuple[StepState, ...] = (
    "made", "decided", "running", "starting", "queued", "elsewhere", "overdue", "lost", "failed",
    "waiting", "left", "there",
)  # fmt: skip
_MEANS = {
    "elsewhere": "on another machine",
    "left": "not reached",
    "there": "there before",
}


def head(history: History) -> Iterator[tuple[str, str, str]]:
    """Label, text and style of the facts about the run itself."""
    run, end = history.run, history.end
    colour = {"succeeded": "green", "running": "", "unfinished": "yellow"}.get(history.state, "red")
    yield "run", f"{run.run}, {history.state}", colour
    yield "asked for", asked_words(run), ""
    dirty = " with uncommitted changes" if run.dirty else ""
    yield "by", f"{run.who}, commit {run.commit[:12]}{dirty}", ""
    yield "started", second(run.started), ""
    if end:
        yield "ended", f"{second(end.ended)}, after {spell(end.seconds)}", ""
    if history.stop:
        why = f": {history.stop.why}" if history.stop.why else ""
        yield "stopped", f"by {history.stop.who}, {history.stop.when}{why}", "yellow"


def summary(history: History) -> str:
    """How many steps there are in each state."""
    counts = Counter(step.state for step in history.steps)
    parts = [f"{counts[s]} {_MEANS.get(s, s)}" for s in _COUNTS if counts[s]]
    return ", ".join(parts) or "no step has begun"


#: The names of the cells of `row`.
COLUMNS = ("state", "step", "key", "size", "tries", "s", "how", "why")


def row(step: Step, now: float) -> list[object]:
    """One step as a row of a table."""
    last = step.tries[-1] if step.tries else None
    return [
        step.state,
        step.label,
        (step.key or "")[:16],
        last.attempt.size if last else "",
        len(step.tries) or "",
        f"{(last.ended or now) - last.started:.1f}" if last else "",
        how(step),
        step.why,
    ]


def how(step: Step) -> str:
    """What the state alone does not say: the reason of a failure, where it runs, earlier tries."""
    if not step.tries:
        return ""
    *earlier, last = step.tries
    parts = [f"{each.kind or each.state} before" for each in earlier]
    if step.state == "failed":
        parts.append(f"{last.kind}: {last.reason}" if last.reason else last.kind)
    if step.state in ("elsewhere", "overdue"):
        parts.append(f"on {last.attempt.host}")
    if step.state == "lost":
        parts.append("it ran, and left no word of its end")
    return "; ".join(parts)


def spell(seconds: float) -> str:
    """A duration as people say it: 4.2 s, 3 min 07 s, 2 h 05 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def second(when: str) -> str:
    """An ISO time in UTC as people read it: 2013-06-30 02:15:00 UTC."""
    return f"{when[:19].replace('T', ' ')} UTC"


def elapsed(history: History) -> float:
    """Seconds since the run started, or that it took."""
    if history.end:
        return history.end.seconds
    return history.at - unix(history.run.started)


def asked_title(run: Run) -> str:
    """What was asked for, as a heading."""
    return asked_words(run) or run.run


def bytes_words(size: int) -> str:
    """A number of bytes as people say it."""
    number = float(size)
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def is_busy(step: Step) -> bool:
    """Whether an attempt of the step is under way."""
    return step.state in BUSY
