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
from jobs.rivals import read_rivals
from jobs.slices import by_slice, slices_of
from jobs.tables import write_table
from jobs.window import Labels, read_window
from registry.errors import BadData
from registry.features.view import FeatureView
from registry.models.bundle import Bundle, encode_json
from registry.models.predictor import open_checked
from registry.models.tables import encode_table
from registry.usecase import load_features, load_step, load_usecase


def run(inputs: Inputs, parameters: Parameters, out: Path) -> Outcome:
    """Write `metrics.json`, `slices.parquet`, `scored.parquet` and `report.html`.

    Inputs: `model` (a bundle), `features` (the day), `window` (the days of the base rate).
    Metrics: those of `jobs.measures.measure`; of the base rate as `base_…`; and how much better
    the model is, `auc_gain` and `log_loss_gain` (positive is better). `scored` has the entity,
    its label (0 or 1) and the probabilities of `model` and `base`, for comparisons row by row.
    Input `rivals`: evaluations of the same day, named by the parameter `rivals`, to be shown
    beside the model, which is the champion then.

    Raises:
        BadData: inputs are broken, or the day holds one class only.
        GoldenMismatch: the model does not reproduce its golden rows.
    """
    usecase, date = parameters["usecase"], dt.date.fromisoformat(parameters["date"])
    horizon = parameters.get("horizon", "")
    view: FeatureView = load_features(usecase, horizon).VIEW
    bundle = Bundle.read(folder(inputs, "model"))
    day, labels = read_window(view, folders(inputs, "features"))
    past, past_labels = read_window(view, folders(inputs, "window"), before=date)
    model = _predict(bundle, day, parameters)
    declared = load_step(usecase, "label")
    group = declared.base_rate_groups
    base = base_rate(group(past), past_labels, group(day))
    metrics = compare(labels, model, base) | {"window_rows": float(len(past_labels))}
    parts = by_slice(slices_of(declared, day), labels, model, base)
    name, own = load_usecase(usecase).model(horizon), bundle.header.own
    algorithm = own.name if own else bundle.header.flavor
    others = inputs.get("rivals") and folders(inputs, "rivals")
    rivals = read_rivals(others or [], parameters.get("rivals", []), day[view.entity])
    report = Report(name, date, algorithm, labels, model, base, metrics, parts, rivals)
    (out / "metrics.json").write_bytes(encode_json(metrics))
    write_table(out / "slices.parquet", parts)
    write_table(out / "scored.parquet", _scored(day[view.entity], labels, model, base))
    write_report(out / "report.html", report)
    return Outcome(metrics, rows=len(labels))


def _scored(ids: pa.ChunkedArray, labels: Labels, model: Labels, base: Labels) -> pa.Table:
    columns = {"label": labels, "model": model, "base": base}
    return pa.table({"id": ids, **{name: pa.array(values) for name, values in columns.items()}})


def compare(labels: Labels, model: Labels, base: Labels) -> dict[str, float]:
    """The metrics of both, and what the model gains."""
    ours, theirs = measures.measure(labels, model), measures.measure(labels, base)
    gains = {
        "auc_gain": ours["auc"] - theirs["auc"],
        "log_loss_gain": theirs["log_loss"] - ours["log_loss"],
    }
    names = ("auc", "log_loss", "brier", "calibration_error")
    return ours | {f"base_{name}": theirs[name] for name in names} | gains


def _predict(bundle: Bundle, table: pa.Table, parameters: Parameters) -> Labels:
    if len(bundle.signature.outputs) != 1:
        raise BadData("only a model of one output can be evaluated", "", "Train it anew.")
    predictor = open_checked(bundle, parameters.get("threads", 1))
    try:
        return np.ascontiguousarray(predictor.predict(encode_table(bundle.signature, table))[:, 0])
    finally:
        predictor.close()
