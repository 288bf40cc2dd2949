"""Evaluate: a model on a day it has not seen, beside the base rate of its window."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa

from jobs import measures
from jobs.baseline import base_rate
from jobs.outcome import Inputs, Outcome, Parameters, folder, folders
from jobs.report import Report, write_report
from jobs.window import Labels, read_window
from registry.errors import BadData
from registry.features.view import FeatureView
from registry.models.bundle import Bundle, encode_json
from registry.models.predictor import open_checked
from registry.models.tables import encode_table
from registry.usecase import load_step


def run(inputs: Inputs, parameters: Parameters, out: Path) -> Outcome:
    """Write `metrics.json` and `report.html`.

    Inputs: `model` (a bundle), `features` (the day), `window` (the days of the base rate).
    Metrics: auc, log_loss, brier, label_rate, rows; the same of the base rate as `base_…`; and
    how much better the model is, `auc_gain` and `log_loss_gain` (positive is better).

    Raises:
        BadData: inputs are broken, or the day holds one class only.
        GoldenMismatch: the model does not reproduce its golden rows.
    """
    usecase, date = parameters["usecase"], dt.date.fromisoformat(parameters["date"])
    view: FeatureView = load_step(usecase, "features").VIEW
    bundle = Bundle.read(folder(inputs, "model"))
    day, labels = read_window(view, folders(inputs, "features"))
    past, past_labels = read_window(view, folders(inputs, "window"), before=date)
    model = _predict(bundle, day, parameters)
    group = load_step(usecase, "label").base_rate_groups
    base = base_rate(group(past), past_labels, group(day))
    metrics = compare(labels, model, base) | {"window_rows": float(len(past_labels))}
    (out / "metrics.json").write_bytes(encode_json(metrics))
    write_report(
        out / "report.html", Report(usecase, date, bundle.flavor, labels, model, base, metrics)
    )
    return Outcome(metrics, rows=len(labels))


def compare(labels: Labels, model: Labels, base: Labels) -> dict[str, float]:
    """The metrics of both, and what the model gains."""
    ours, theirs = measures.measure(labels, model), measures.measure(labels, base)
    gains = {
        "auc_gain": ours["auc"] - theirs["auc"],
        "log_loss_gain": theirs["log_loss"] - ours["log_loss"],
    }
    names = ("auc", "log_loss", "brier")
    return ours | {f"base_{name}": theirs[name] for name in names} | gains


def _predict(bundle: Bundle, table: pa.Table, parameters: Parameters) -> Labels:
    if len(bundle.signature.outputs) != 1:
        raise BadData("only a model of one output can be evaluated", "", "Train it anew.")
    predictor = open_checked(bundle, parameters.get("threads", 1))
    try:
        return np.ascontiguousarray(predictor.predict(encode_table(bundle.signature, table))[:, 0])
    finally:
        predictor.close()
