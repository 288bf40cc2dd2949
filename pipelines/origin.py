"""How one artifact came to be: run, attempt, code, inputs, resources, decisions."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.runners.sizes import SIZES
from pipelines.runs import Run, asked_words, read_run
from registry.aliases.decision import Decision
from registry.artifacts.catalog import Catalog
from registry.artifacts.journal import Journal, Tried
from registry.artifacts.manifest import Manifest
from registry.errors import BadData, NotFound
from registry.lineage import Lineage, title_of_all


@dataclass(frozen=True)
class Origin:
    """What is known beside the manifest. `why` is what the plan of the run gave as the reason."""

    run: Run | None
    why: str
    tries: list[Tried]
    decisions: list[Decision]
    state: str

    def facts(self, catalog: Catalog, manifest: Manifest) -> Iterator[tuple[str, str]]:
        """The whole story, a label and a line for each fact that there is."""
        rows = [
            ("key", manifest.key),
            ("state", self.state),
            ("recipe", _recipe(manifest)),
            ("parameters", _pairs(manifest.parameters)),
            *(("input", line) for line in _inputs(catalog, manifest)),
            *(("source", f"{name} {value}") for name, value in manifest.externals.items()),
            ("why", self.why),
            ("run", self._run(manifest)),
            ("code", _code(manifest)),
            ("attempts", "; ".join(_attempt(tried) for tried in self.tries)),
            ("used", _used(manifest)),
            ("made", _when(manifest)),
            ("metrics", _pairs(manifest.metrics)),
            ("content", f"{manifest.content} ({_files(manifest)})"),
            *(("decision", _decision(decision)) for decision in self.decisions),
        ]
        return ((label, value) for label, value in rows if value)

    def _run(self, manifest: Manifest) -> str:
        if self.run is None:
            return manifest.producer.run or "none: it was imported by hand"
        return f"{self.run.run}: {asked_words(self.run)}, asked for by {self.run.who}"


def origin_of(catalog: Catalog, path: str, manifest: Manifest) -> Origin:
    """The origin of the artifact whose manifest lies at `path`."""
    journal = Journal(catalog.store)
    journal.refresh(manifest.key)
    run = None
    with contextlib.suppress(NotFound, BadData):
        run, _ = read_run(catalog.store, manifest.producer.run)
    planned = [step.why for step in (run.planned if run else []) if step.key == manifest.key]
    decisions = [
        decision
        for decision in Lineage(catalog).decisions.values()
        if manifest.key in (decision.candidate.key, decision.evaluation and decision.evaluation.key)
    ]
    return Origin(
        run, planned[0] if planned else "", journal.tries(), decisions, catalog.state(path)
    )


def _recipe(manifest: Manifest) -> str:
    again = f", retraction epoch {manifest.epoch}" if manifest.epoch else ""
    return f"{manifest.family} {manifest.name}, version {manifest.step_version} of the step{again}"


def _pairs(values: object) -> str:
    if not isinstance(values, dict):
        return f"{values:.6g}" if isinstance(values, float) else str(values)
    inner = (
        f"{name}: ({_pairs(value)})" if isinstance(value, dict) else f"{name}={_pairs(value)}"
        for name, value in sorted(values.items())
    )
    return ", ".join(inner)


def _inputs(catalog: Catalog, manifest: Manifest) -> Iterator[str]:
    paths = {reference.key: reference.path for reference in manifest.references}
    for role, value in manifest.inputs.items():
        # Of a later rung of a search only some were made: the others have no reference.
        keys = [key for key in ([value] if isinstance(value, str) else value) if key in paths]
        found = [m for key in keys if (m := catalog.at(paths[key])) is not None]
        dates = sorted(each.date for each in found if each.date)
        span = f" {dates[0]}" + (f" … {dates[-1]}" if len(dates) > 1 else "") if dates else ""
        what = title_of_all(found) if found else "(cannot be read)"
        count = f" × {len(keys)}," if len(keys) > 1 else ""
        digits = f"  {keys[0][:16]}" if len(keys) == 1 else ""
        yield f"{role}: {what}{count}{span}{digits}"


def _code(manifest: Manifest) -> str:
    made = manifest.producer
    dirty = " with uncommitted changes" if made.dirty else ""
    lock = f", lock file {made.lock[:12]}" if made.lock else ""
    device = f", trained on {made.device}" if made.device else ""
    return f"commit {made.commit[:12]}{dirty}{lock}, Python {made.python}, on {made.host}{device}"


def _attempt(tried: Tried) -> str:
    attempt, end = tried.attempt, tried.end
    size = SIZES.get(attempt.size)
    asked = f"{attempt.size}: {size.cpus} cpu, {size.memory_mb} MiB" if size else attempt.size
    how = (
        "no end recorded" if end is None else f"{end.kind}{f', {end.reason}' if end.reason else ''}"
    )
    return f"{attempt.number} ({asked}) {how}"


def _used(manifest: Manifest) -> str:
    units = {"wall_s": "s", "cpu_s": "s of processor", "peak_rss_mb": "MiB at the peak"}
    used = manifest.resources
    return ", ".join(f"{used[name]:.1f} {unit}" for name, unit in units.items() if name in used)


def _when(manifest: Manifest) -> str:
    if not manifest.timings:
        return ""
    last = dt.datetime.fromtimestamp(max(manifest.timings.values()), dt.UTC)
    return f"{last:%Y-%m-%d %H:%M:%S} UTC"


def _files(manifest: Manifest) -> str:
    size = sum(file.size for file in manifest.files)
    return f"{len(manifest.files)} file{'s' if len(manifest.files) > 1 else ''}, {size:,} bytes"


def _decision(decision: Decision) -> str:
    about = f"{decision.model}@{decision.alias} revision {decision.revision}"
    reasons = "; ".join([decision.why, *decision.reasons])
    return f"{decision.action} {about} by {decision.who}, {decision.when[:16]}: {reasons}"
