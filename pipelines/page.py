"""A run as one HTML page that needs nothing else: no script, no font, no server.

Everything that comes from a record is escaped: names, reasons and logs are what jobs wrote.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from pipelines.commands.words import respelled
from pipelines.history import Historian, History, Step
from pipelines.spelled import asked_title, bytes_words, elapsed, second, spell, summary
from pipelines.timeline import MOST, chosen, timeline
from registry.artifacts.manifest import Manifest
from registry.artifacts.store.protocol import Store
from registry.errors import StoreUnwritable

#: Lines of a failed attempt's log to show.
LOG_LINES = 25
#: Files to link to, by their ending: reports and tables.
_RESULTS = frozenset({".html", ".parquet"})
_RESULT_FAMILIES = frozenset({"evaluation", "predictions", "search"})


def page_path(var: Path, run: str) -> Path:
    """Where the page of a run lies unless a person says otherwise."""
    return var / "pages" / f"{run}.html"


def write_page(historian: Historian, store: Store, target: Path) -> History:
    """Write the page of the run as it is now; returns what it shows.

    Raises:
        NotFound, BadData: there is no record of the run, or it is damaged.
        StoreUnwritable: the page cannot be written.
    """
    history = historian.read()
    text = RunPage(historian, history, store, target).html()
    incoming = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        incoming.write_text(text, encoding="utf-8")
        incoming.replace(target)  # Who reloads it meanwhile sees the old page or the new one.
    except OSError as error:
        why = error.strerror or str(error)
        raise StoreUnwritable(
            f"{target} cannot be written", why, "Choose another --out."
        ) from error
    return history


class RunPage:
    """The page of one history, to be written to `target`."""

    def __init__(self, historian: Historian, history: History, store: Store, target: Path) -> None:
        self._historian = historian
        self._history = history
        self._store = store
        self._folder = target.absolute().parent

    def html(self) -> str:
        """The whole page."""
        css = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
        run = self._history.run
        parts = [
            self._head(), *self._troubles(), self._tiles(), self._timeline(), *self._results(),
            self._decisions(), self._metrics(), self._steps(), self._foot(),
        ]  # fmt: skip
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<link rel="icon" href="data:,">'
            f"<title>{escape(f'{asked_title(run)} {self._history.state}')}</title>"
            f"<style>{css}</style></head>\n<body>\n" + "\n".join(filter(None, parts)) + "\n"
            "</body></html>\n"
        )

    def _head(self) -> str:
        history, run = self._history, self._history.run
        state = escape(history.state)
        took = spell(elapsed(history))
        began = f"Started {second(run.started)}, {'took' if history.end else 'so far'} {took}"
        lines = [
            f"Run <code>{escape(run.run)}</code>, asked for by {escape(run.who)}",
            escape(f"{began}; {summary(history)}"),
        ]
        if history.state in ("failed", "stopped", "interrupted"):
            again = escape(respelled(run.asked))
            lines.append(f"To go on: <code>{again}</code>; what was made stays.")
        if history.stop:
            why = f": {history.stop.why}" if history.stop.why else ""
            lines.append(f"Stopped by {escape(history.stop.who + why)}")
        return (
            f'<header><h1>{escape(asked_title(run))} <span class="pill {state}">{state}</span></h1>'
            + "".join(f'<p class="soft">{line}</p>' for line in lines)
            + "</header>"
        )

    def _troubles(self) -> Iterator[str]:
        """What failed, first: the reason and the last lines of the log."""
        failed = self._history.of("failed", "lost", "overdue")
        for step in failed:
            last = step.tries[-1]
            tail = self._historian.log_tail(last.attempt, LOG_LINES)
            log = f"<pre>{escape(chr(10).join(tail))}</pre>" if tail else ""
            kind = f"{last.kind or step.state}{f': {last.reason}' if last.reason else ''}"
            yield (
                f'<section class="card trouble"><h3>{escape(step.label)}: {escape(kind)}</h3>'
                f"<p>Attempt {last.attempt.number} of size {escape(last.attempt.size)} on "
                f"{escape(last.attempt.host or 'a cluster')}. All it printed: "
                f"<code>penstock logs {escape(last.attempt.key[:16])}</code></p>{log}</section>"
            )
        if not failed and self._history.end and self._history.end.failed:
            items = "".join(f"<li>{escape(text)}</li>" for text in self._history.end.failed)
            yield f'<section class="card trouble"><h3>The run failed</h3><ul>{items}</ul></section>'

    def _tiles(self) -> str:
        tries = [each for step in self._history.steps for each in step.tries]
        held = sum(
            each.size.cpus * each.used.get("wall_s", 0.0) for each in tries if each.size is not None
        )
        used = sum(each.used.get("cpu_s", 0.0) for each in tries)
        peak = max((each.used.get("peak_mb", 0.0) for each in tries), default=0.0)
        failed = sum(each.state == "failed" for each in tries)
        tiles = [
            (str(len(self._history.of("made"))), "artifacts made"),
            (str(len(self._history.of("there"))), "there before"),
            (f"{len(tries)}{f' ({failed} failed)' if failed else ''}", "attempts"),
            (spell(elapsed(self._history)), "from start to end"),
            (spell(used), f"of processor, of {spell(held)} held"),
            (f"{peak:,.0f} MiB", "largest peak of memory"),
        ]
        inner = (
            f'<div class="card tile"><b>{escape(value)}</b><span>{escape(what)}</span></div>'
            for value, what in tiles
        )
        return f'<section class="tiles">{"".join(inner)}</section>'

    def _timeline(self) -> str:
        drawing = timeline(self._history)
        if not drawing:
            return ""
        tried = sum(bool(step.tries) for step in self._history.steps)
        left = tried - len(chosen(self._history))
        note = "Pale: waited for room. Red: failed. Time goes from the start of the run."
        if left:
            note += f" The {MOST} longest; {left} more are below."
        return (
            f'<h2>Timeline</h2><section class="card">{drawing}<p class="soft">{note}</p></section>'
        )

    def _results(self) -> Iterator[str]:
        rows = [
            [_plain(step.label), f"<td>{' &nbsp; '.join(self._links(manifest))}</td>"]
            for step in self._history.steps
            if (manifest := self._historian.manifest(step)) is not None
            and manifest.family in _RESULT_FAMILIES
        ]
        if rows:
            yield _table("Reports and predictions", ["step", "files"], rows)

    def _links(self, manifest: Manifest) -> Iterator[str]:
        """A link to each file for people, or its address where it is no file here; reports first."""
        files = [file for file in manifest.files if Path(file.path).suffix in _RESULTS]
        for file in sorted(files, key=lambda file: (Path(file.path).suffix, file.path)):
            path = self._store.local_path(manifest.data + file.path)
            size = f'<span class="soft">{bytes_words(file.size)}</span>'
            if path is None:
                yield f"{escape(f'{self._store.url}/{manifest.data}{file.path}')} {size}"
            else:
                where = quote(os.path.relpath(path, self._folder))
                yield f'<a href="{escape(where)}">{escape(file.path)}</a> {size}'

    def _decisions(self) -> str:
        rows = [
            [
                _plain(f"{decision.action} {decision.candidate.key[:16]}"),
                _plain(f"{decision.model}@{decision.alias}, revision {decision.revision}"),
                _wrapped("; ".join([decision.why, *decision.reasons])),
            ]
            for decision in self._history.decisions
        ]
        return _table("Decided", ["what", "about", "why"], rows) if rows else ""

    def _metrics(self) -> str:
        """A column for each evaluation, a row for each metric."""
        made = [(step, self._historian.manifest(step)) for step in self._history.steps]
        found = [(s, m) for s, m in made if m and m.family == "evaluation" and m.metrics][:8]
        names = sorted({name for _, manifest in found for name in manifest.metrics})
        rows = [
            [_plain(name), *(_metric(manifest.metrics.get(name)) for _, manifest in found)]
            for name in names
        ]
        prefix = f"evaluate {self._history.run.asked.get('usecase', '')} "
        header = ["metric", *(f"#{step.label.removeprefix(prefix)}" for step, _ in found)]
        return _table("Metrics of the evaluations", header, rows) if rows else ""

    def _steps(self) -> str:
        """What the run did, and below, folded, what it found there."""
        header = ["state", "step", "why", "key", "#tries", "size", "#s", "#CPU s", "#peak MiB"]
        header += ["#rows", "#made"]
        there = [self._step(step) for step in self._history.of("there")]
        rows = [self._step(step) for step in self._history.steps if step.state != "there"]
        text = _table("Steps, and why they ran", header, rows) if rows else ""
        if there:
            folded = _table("", header, there)
            text += (
                f"<details><summary>{len(there)} that were there before</summary>{folded}</details>"
            )
        return text

    def _step(self, step: Step) -> list[str]:
        last = step.tries[-1] if step.tries else None
        manifest = self._historian.manifest(step)
        used = last.used if last else {}
        peak = f"{used['peak_mb']:.0f}" if "peak_mb" in used else ""
        asked = f" of {last.size.memory_mb}" if last and last.size and peak else ""
        seconds = f"{(last.ended or self._history.at) - last.started:.1f}" if last else ""
        files = bytes_words(sum(file.size for file in manifest.files)) if manifest else ""
        rows = f"{manifest.rows:,}" if manifest and manifest.rows is not None else ""
        return [
            f'<td class="state {step.state}">{step.state}</td>',
            _plain(step.label),
            _wrapped(step.why),
            f'<td><code title="{escape(step.key or "")}">{escape((step.key or "")[:16])}</code></td>',
            _number(str(len(step.tries) or "")),
            _plain(last.attempt.size if last else ""),
            _number(seconds),
            _number(f"{used['cpu_s']:.1f}" if "cpu_s" in used else ""),
            _number(f"{peak}{asked}"),
            _number(rows),
            _number(files),
        ]

    def _foot(self) -> str:
        run = self._history.run
        dirty = " with uncommitted changes" if run.dirty else ""
        lock = f", lock file {run.lock[:12]}" if run.lock else ""
        made = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self._history.at))
        return (
            f"<footer><p>Code: commit <code>{escape(run.commit[:12])}</code>{dirty}"
            f"{escape(lock)}. Store: <code>{escape(self._store.url)}</code></p>"
            f"<p>The run as it stood at {made} UTC. <code>penstock page {escape(run.run)}</code> "
            "writes this page again.</p></footer>"
        )


def _table(title: str, header: Sequence[str], rows: Iterable[list[str]]) -> str:
    """A heading and a table; a column whose name starts with # holds numbers."""
    names = (
        f'<th class="number">{escape(name[1:])}</th>'
        if name.startswith("#")
        else f"<th>{escape(name)}</th>"
        for name in header
    )
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    heading = f"<h2>{escape(title)}</h2>" if title else ""
    return (
        f'{heading}<section class="card scroll"><table><thead><tr>{"".join(names)}'
        f"</tr></thead><tbody>{body}</tbody></table></section>"
    )


def _plain(text: str) -> str:
    return f"<td>{escape(text)}</td>"


def _wrapped(text: str) -> str:
    return f'<td class="wrap">{escape(text)}</td>'


def _number(text: str) -> str:
    return f'<td class="number">{escape(text)}</td>'


def _metric(value: float | None) -> str:
    return _number(
        "" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    )
