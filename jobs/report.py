"""The evaluation report: a model on a day it has not seen, beside the base rate."""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs import page
from jobs.plots import BASE, MODEL, Curve, Dot, calibration_plot, dot_plot, histogram_plot, roc_plot
from jobs.rivals import Rival, rivals_section
from jobs.window import Labels

_ROWS = (
    ("AUC", "auc", 1),
    ("Log loss", "log_loss", -1),
    ("Brier score", "brier", -1),
    ("Calibration error", "calibration_error", -1),
)
#: A plot of a slice with more values than this says nothing; the table has them all.
_SHOWN = 24


@dataclass(frozen=True)
class Report:
    """What a report shows: probabilities of `model` and `base` for `labels` (0 or 1).

    `slices` is a table of `jobs.slices.SCHEMA`.
    """

    model_name: str
    date: dt.date
    algorithm: str
    labels: Labels
    model: Labels
    base: Labels
    metrics: Mapping[str, float]
    slices: pa.Table
    rivals: Sequence[Rival] = ()


def write_report(path: Path, report: Report) -> None:
    """Write the report as self-contained HTML."""
    what = f"the champion ({report.algorithm})" if report.rivals else report.algorithm
    title = f"{report.model_name}, {report.date.isoformat()}: {what}"
    parts = [
        page.soft(_subtitle(report.metrics)),
        f'<p class="verdict">{_verdict(report.metrics)}</p>',
        page.cards(_cards(report.metrics)),
        *_rivals(report),
        page.section("Against the base rate", _table(report.metrics)),
        page.section("Ranking and calibration", _curves(report)),
        page.section("How far the predictions spread", _histogram(report)),
    ]
    if report.slices.num_rows:
        parts.append(_slices(report.slices.to_pylist()))
    page.write_page(path, title, parts)


def _rivals(report: Report) -> list[str]:
    if not report.rivals:
        return []
    return [rivals_section(report.labels, report.model, report.rivals)]


def _subtitle(metrics: Mapping[str, float]) -> str:
    return (
        f"{metrics['rows']:,.0f} rows of a day the model has not seen, "
        f"{metrics['label_rate']:.1%} of them positive. The base rate comes from the "
        f"{metrics['window_rows']:,.0f} rows of the training window."
    )


def _verdict(metrics: Mapping[str, float]) -> str:
    better = [metrics["auc_gain"] > 0, metrics["log_loss_gain"] > 0]
    if all(better):
        return "The model beats the base rate, in ranking and in log loss."
    if any(better):
        kept = "ranking" if better[0] else "log loss"
        return f"The model beats the base rate in {kept} only."
    return "The model does <strong>not</strong> beat the base rate."


def _cards(metrics: Mapping[str, float]) -> Iterator[tuple[str, str, str]]:
    yield "AUC", f"{metrics['auc']:.3f}", f"{metrics['auc_gain']:+.3f} over the base rate"
    gain = -metrics["log_loss_gain"]
    yield "Log loss", f"{metrics['log_loss']:.3f}", f"{gain:+.3f} against the base rate"
    predicted, happened = metrics["mean_prediction"], metrics["label_rate"]
    yield "Predicted on average", f"{predicted:.1%}", f"{happened:.1%} happened"


def _table(metrics: Mapping[str, float]) -> str:
    rows = []
    for name, metric, sign in _ROWS:
        ours, base = metrics[metric], metrics[f"base_{metric}"]
        mark = "▲" if (ours - base) * sign > 0 else "▼"
        rows.append([name, f"{ours:.4f}", f"{base:.4f}", f"{ours - base:+.4f} {mark}",
                     "higher is better" if sign > 0 else "lower is better"])  # fmt: skip
    return page.table(["", "Model", "Base rate", "Difference", ""], rows)


def _curves(report: Report) -> str:
    curves = [Curve("base rate", report.base, BASE), Curve("model", report.model, MODEL)]
    return page.plots(
        (
            (roc_plot(report.labels, curves), "How well each ranks the rows."),
            (
                calibration_plot(report.labels, curves),
                (
                    "Ten bins of equal size, with 95 % intervals; on the dashed line, what is "
                    "predicted is what happens."
                ),
            ),
        )
    )


def _histogram(report: Report) -> str:
    svg = histogram_plot(report.labels, report.model)
    return page.plots([(svg, "A model that says much puts the red far to the right.")], wide=True)


def _slices(rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(row["slice"] for row in rows))
    figures = []
    for name in names:
        shown = sorted((r for r in rows if r["slice"] == name), key=lambda r: -int(r["rows"]))
        kept = {row["value"] for row in shown[:_SHOWN]}
        dots = [
            Dot(f"{row['value']} ({row['rows']:,})", row["gain"], row["spread"])
            for row in rows
            if row["slice"] == name and row["value"] in kept
        ]
        figures.append((f"<h3>{html.escape(name)}</h3>{dot_plot(dots, 'Log loss gained')}", ""))
    remark = page.soft(
        "How much lower the log loss is than the base rate's, with 95 % intervals and the number "
        "of rows: to the right of the line, the model helps."
    )
    return page.section(
        "Slice by slice", remark, page.plots(figures), page.details("All numbers", _numbers(rows))
    )


def _numbers(rows: list[dict[str, Any]]) -> str:
    head = ["", "Rows", "Positive", "Predicted", "AUC", "Log loss", "Base rate", "Gain"]
    cells = [
        [
            f"{row['slice']}: {row['value']}", f"{row['rows']:,}", f"{row['label_rate']:.1%}",
            f"{row['predicted']:.1%}", f"{row['auc']:.3f}", f"{row['log_loss']:.4f}",
            f"{row['base_log_loss']:.4f}", f"{row['gain']:+.4f} {'▲' if row['gain'] > 0 else '▼'}",
        ]
        for row in rows
    ]  # fmt: skip
    return page.table(head, cells)
