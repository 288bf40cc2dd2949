"""The champion beside the candidates of the same day, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from jobs import measures, page
from jobs.plots import MODEL, OTHER, Curve, calibration_plot, roc_plot
from jobs.tables import read_table
from jobs.window import Labels
from registry.errors import BadData


@dataclass(frozen=True)
class Rival:
    """A candidate's probabilities, under the name of its algorithm."""

    name: str
    scores: Labels


def read_rivals(paths: Sequence[Path], names: Sequence[str], ids: pa.ChunkedArray) -> list[Rival]:
    """What the evaluations in `paths` scored, in the order of `names`.

    Raises:
        BadData: one of them is of other rows than `ids`.
    """
    found = []
    for path, name in zip(paths, names, strict=True):
        scored = read_table(path / "scored.parquet", ["id", "model"])
        if not scored["id"].equals(ids):
            raise BadData(f"the evaluation of {name} is of other rows", "their ids differ")
        found.append(Rival(name, scored["model"].to_numpy()))
    return found


def rivals_section(labels: Labels, champion: Labels, rivals: Sequence[Rival]) -> str:
    """A table of all, and curves of the champion and the best candidate (by log loss)."""
    best = min(rivals, key=lambda rival: measures.log_loss(labels, rival.scores))
    names = ["champion", *(rival.name for rival in rivals)]
    losses = [measures.log_loss(labels, scores) for scores in _scores(champion, rivals)]
    rows = list(_rows(labels, champion, rivals))
    remark = page.soft(
        "Differences in log loss are to the champion, row by row, with 95 % intervals; "
        f"{names[losses.index(min(losses))]} has the lowest."
    )
    curves = [Curve("champion", champion, OTHER), Curve(best.name, best.scores, MODEL)]
    figures = [(roc_plot(labels, curves), ""), (calibration_plot(labels, curves), "")]
    head = ["", "AUC", "Log loss", "Brier score", "Calibration error", "Log loss against champion"]
    return page.section(
        "Champion and candidates",
        remark,
        page.table(head, rows, best=losses.index(min(losses))),
        page.plots(figures),
    )


def _scores(champion: Labels, rivals: Sequence[Rival]) -> list[Labels]:
    return [champion, *(rival.scores for rival in rivals)]


def _rows(labels: Labels, champion: Labels, rivals: Sequence[Rival]) -> Iterator[list[str]]:
    before = measures.losses(labels, champion)
    for name, scores in [("champion", champion), *((r.name, r.scores) for r in rivals)]:
        found = measures.measure(labels, scores)
        gap = measures.difference(measures.losses(labels, scores), before)
        mark = (
            ("" if not gap.sure else " ▼" if gap.mean > 0 else " ▲") if name != "champion" else ""
        )
        shown = "–" if name == "champion" else f"{gap.mean:+.4f} ± {gap.spread:.4f}{mark}"
        numbers = [found[key] for key in ("auc", "log_loss", "brier", "calibration_error")]
        yield [name, *(f"{number:.4f}" for number in numbers), shown]
