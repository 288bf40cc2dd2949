"""Plots as SVG text whose bytes depend on nothing but the numbers."""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jobs import measures
from jobs.measures import Floats

#: Names of vocabularies on the web, of no use inside a page.
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
MODEL = "#1f6feb"
BASE = "#8c959f"
_STYLE: Any = {
    "svg.hashsalt": "penstock",  # ids would be random
    "svg.fonttype": "none",  # text stays text: small, searchable, in the reader's own font
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8c959f",
    "axes.grid": True,
    "grid.color": "#eaeef2",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def roc_plot(labels: Floats, model: Floats, base: Floats) -> str:
    """ROC curves of model and base rate."""
    with mpl.rc_context(_STYLE):
        figure, axes = _square("False positive rate", "True positive rate")
        for scores, name, color in ((base, "base rate", BASE), (model, "model", MODEL)):
            false, true = measures.roc(labels, scores)
            label = f"{name}, AUC {measures.auc(labels, scores):.3f}"
            axes.plot(false, true, color=color, linewidth=2, label=label)
        axes.plot([0, 1], [0, 1], color="#d0d7de", linewidth=1, linestyle=(0, (4, 4)))
        axes.legend(loc="lower right")
        return _svg(figure)


def calibration_plot(labels: Floats, model: Floats, base: Floats) -> str:
    """Predicted against observed rates, in ten equally filled bins, with a 95 % interval."""
    with mpl.rc_context(_STYLE):
        figure, axes = _square("Predicted probability", "Observed rate")
        axes.plot([0, 1], [0, 1], color="#d0d7de", linewidth=1, linestyle=(0, (4, 4)))
        for scores, name, color in ((base, "base rate", BASE), (model, "model", MODEL)):
            bins = measures.calibration(labels, scores)
            spread = 1.96 * (bins.observed * (1 - bins.observed) / bins.rows) ** 0.5
            axes.errorbar(
                bins.predicted, bins.observed, spread, color=color, label=name, marker="o",
                markersize=5, linewidth=1.5, elinewidth=1, capsize=2,
            )  # fmt: skip
        axes.legend(loc="upper left")
        return _svg(figure)


def _square(horizontal: str, vertical: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=horizontal, ylabel=vertical)
    axes.set_aspect("equal")
    return figure, axes


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return _METADATA.sub("", text[text.index("<svg") :])
