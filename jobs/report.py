"""The evaluation report: one HTML file that needs nothing else, and says the same every time."""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jobs.plots import calibration_plot, roc_plot
from jobs.window import Labels

_STYLE = """
:root { color-scheme: light; --ink: #1f2328; --soft: #59636e; --line: #d1d9e0; --blue: #1f6feb; }
body { margin: 0 auto; padding: 2.5rem 1.5rem; max-width: 62rem; color: var(--ink);
       font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .75rem; }
.soft { color: var(--soft); margin: 0; } .verdict { font-size: 1.1rem; margin: 1.25rem 0; }
.cards { display: flex; flex-wrap: wrap; gap: 1rem; }
.card { flex: 1 1 11rem; border: 1px solid var(--line); border-radius: .6rem; padding: .9rem 1.1rem; }
.card b { display: block; font-size: 1.7rem; font-weight: 600; color: var(--blue);
          font-variant-numeric: tabular-nums; }
.plots { display: flex; flex-wrap: wrap; gap: 1.5rem; }
figure { flex: 1 1 24rem; margin: 0; } figure svg { width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: .9rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; color: var(--soft); }
"""
_ROWS = (
    ("AUC", "auc", "base_auc", "higher is better"),
    ("Log loss", "log_loss", "base_log_loss", "lower is better"),
    ("Brier score", "brier", "base_brier", "lower is better"),
)


@dataclass(frozen=True)
class Report:
    """What a report shows: probabilities of `model` and `base` for `labels` (0 or 1)."""

    usecase: str
    date: dt.date
    algorithm: str
    labels: Labels
    model: Labels
    base: Labels
    metrics: Mapping[str, float]


def write_report(path: Path, report: Report) -> None:
    """Write the report as self-contained HTML."""
    title = f"{report.usecase}, {report.date.isoformat()}: {report.algorithm}"
    body = "\n".join(
        (
            f"<h1>{html.escape(title)}</h1>",
            f'<p class="soft">{_subtitle(report.metrics)}</p>',
            f'<p class="verdict">{_verdict(report.metrics)}</p>',
            f'<div class="cards">{_cards(report.metrics)}</div>',
            "<h2>Against the base rate</h2>",
            _table(report.metrics),
            "<h2>Ranking and calibration</h2>",
            f'<div class="plots">{_plots(report)}</div>',
        )
    )
    path.write_text(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n",
        encoding="utf-8",
    )


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


def _cards(metrics: Mapping[str, float]) -> str:
    cards = (
        ("AUC", f"{metrics['auc']:.3f}", f"{metrics['auc_gain']:+.3f} over the base rate"),
        (
            "Log loss",
            f"{metrics['log_loss']:.3f}",
            f"{-metrics['log_loss_gain']:+.3f} against the base rate",
        ),
        ("Brier score", f"{metrics['brier']:.3f}", f"base rate {metrics['base_brier']:.3f}"),
    )
    return "".join(f'<div class="card">{n}<b>{v}</b><span class="soft">{d}</span></div>'
                   for n, v, d in cards)  # fmt: skip


def _table(metrics: Mapping[str, float]) -> str:
    rows = "".join(
        f"<tr><td>{name}</td><td>{metrics[ours]:.4f}</td><td>{metrics[base]:.4f}</td>"
        f"<td>{metrics[ours] - metrics[base]:+.4f}</td><td>{note}</td></tr>"
        for name, ours, base, note in _ROWS
    )
    head = "<tr><th></th><th>Model</th><th>Base rate</th><th>Difference</th><th></th></tr>"
    return f"<table>{head}{rows}</table>"


def _plots(report: Report) -> str:
    numbers = (report.labels, report.model, report.base)
    figures = (
        (roc_plot(*numbers), "How well each ranks the rows."),
        (calibration_plot(*numbers), ("Ten bins of equal size, with 95 % intervals; on the dashed "
         "line, what is predicted is what happens.")),
    )  # fmt: skip
    return "".join(f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"
                   for svg, caption in figures)  # fmt: skip
