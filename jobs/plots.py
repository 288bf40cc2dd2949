"""Plots as SVG text whose bytes depend on nothing but the numbers."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jobs import measures
from jobs.measures import Floats

#: Names of vocabularies on the web, of no use inside a page.
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
MODEL = "#1f6feb"
OTHER = "#bf8700"
BASE = "#8c959f"
LATE = "#cf222e"
_GUIDE: Any = {"color": "#d0d7de", "linewidth": 1, "linestyle": (0, (4, 4))}
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


@dataclass(frozen=True)
class Curve:
    """Probabilities that a plot shows, under a name and in a colour."""

    name: str
    scores: Floats
    color: str


@dataclass(frozen=True)
class Dot:
    """A value with its interval, in a row that is called `name`."""

    name: str
    value: float
    spread: float


@dataclass(frozen=True)
class Climb:
    """A trial of a search, and its value on each rung that it came to, as (rung, value)."""

    trial: int
    values: Sequence[tuple[int, float]]


def roc_plot(labels: Floats, curves: Sequence[Curve]) -> str:
    """ROC curves, the last one on top."""
    with mpl.rc_context(_STYLE):
        figure, axes = _square("False positive rate", "True positive rate")
        axes.plot([0, 1], [0, 1], **_GUIDE)
        for curve in curves:
            false, true = measures.roc(labels, curve.scores)
            label = f"{curve.name}, AUC {measures.auc(labels, curve.scores):.3f}"
            axes.plot(false, true, color=curve.color, linewidth=2, label=label)
        axes.legend(loc="lower right")
        return _svg(figure)


def calibration_plot(labels: Floats, curves: Sequence[Curve]) -> str:
    """Predicted against observed rates, in ten equally filled bins, with a 95 % interval."""
    with mpl.rc_context(_STYLE):
        figure, axes = _square("Predicted probability", "Observed rate")
        axes.plot([0, 1], [0, 1], **_GUIDE)
        for curve in curves:
            bins = measures.calibration(labels, curve.scores)
            spread = 1.96 * (bins.observed * (1 - bins.observed) / bins.rows) ** 0.5
            axes.errorbar(
                bins.predicted, bins.observed, spread, color=curve.color, label=curve.name,
                marker="o", markersize=5, linewidth=1.5, elinewidth=1, capsize=2,
            )  # fmt: skip
        axes.legend(loc="upper left")
        return _svg(figure)


def histogram_plot(labels: Floats, model: Floats) -> str:
    """How the predictions of positive and negative rows are spread, in twenty bins."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.6, 2.5), layout="constrained")
        axes = figure.add_subplot()
        edges = np.linspace(0, 1, 21).tolist()
        parts = [model[labels == 0], model[labels == 1]]
        axes.hist(
            parts, edges, stacked=True, color=[BASE, LATE], label=["negative", "positive"],
            edgecolor="white", linewidth=0.7,
        )  # fmt: skip
        axes.set(xlim=(0, 1), xlabel="Predicted probability", ylabel="Rows")
        axes.grid(visible=False, axis="x")
        axes.legend(loc="upper right")
        return _svg(figure)


def dot_plot(dots: Sequence[Dot], label: str) -> str:
    """One row for each value with its 95 % interval, blue where it is above zero."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.6, 0.75 + 0.24 * max(len(dots), 2)), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color="#8c959f", linewidth=1)
        for place, dot in enumerate(reversed(dots)):
            color = MODEL if dot.value > 0 else LATE
            low, high = dot.value - dot.spread, dot.value + dot.spread
            axes.plot([low, high], [place, place], color=color, linewidth=1.6, alpha=0.45)
            axes.plot(dot.value, place, "o", color=color, markersize=5.5)
        axes.set_yticks(range(len(dots)), [dot.name for dot in reversed(dots)])
        axes.set(xlabel=label, ylim=(-0.7, max(len(dots), 2) - 0.3))
        axes.grid(visible=False, axis="y")
        return _svg(figure)


def trials_plot(values: Floats, best: int, own: int, label: str) -> str:
    """One dot for each trial in order of `values` (lower is better); the best and the own marked."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.6, 3.2), layout="constrained")
        axes = figure.add_subplot()
        order = np.argsort(values, kind="stable")
        axes.plot(np.arange(len(order)) + 1, values[order], "o", color=BASE, markersize=6)
        for trial, color, name in ((own, OTHER, "as set"), (best, MODEL, "best")):
            place = int(np.flatnonzero(order == trial)[0]) + 1
            axes.plot(place, values[trial], "o", color=color, markersize=9, label=name)
        axes.set(xlabel="Trials, the best first", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="upper left")
        return _svg(figure)


def rungs_plot(climbs: Sequence[Climb], best: int, own: int, label: str) -> str:
    """One line for each trial over its rungs (lower is better); the best and the own on top."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.6, 3.2), layout="constrained")
        axes = figure.add_subplot()
        marked = {own: (OTHER, "as set"), best: (MODEL, "best")}
        for climb in sorted(climbs, key=lambda each: each.trial in marked):
            color, name = marked.get(climb.trial, (BASE, None))
            rungs, values = zip(*climb.values, strict=True)
            width = 2.2 if name else 0.8
            axes.plot(rungs, values, "o-", color=color, linewidth=width, markersize=5, label=name)
        axes.set(xlabel="Rung", ylabel=label)
        axes.set_xticks(range(1, 1 + max(rung for each in climbs for rung, _ in each.values)))
        axes.legend(loc="upper right")
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
