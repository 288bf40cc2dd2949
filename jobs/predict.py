"""Predict: the probabilities of one day's rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from jobs.outcome import Inputs, Outcome, Parameters, folder, folders
from jobs.tables import read_table, write_table
from registry.errors import BadData
from registry.features.view import AS_OF, FeatureView
from registry.models.bundle import Bundle
from registry.models.predictor import open_checked
from registry.models.signature import Matrix
from registry.models.tables import encode_table
from registry.usecase import load_features


def run(inputs: Inputs, parameters: Parameters, out: Path) -> Outcome:
    """Write `predictions.parquet`: the entity, as_of, the model's outputs, and which model.

    Inputs: `model` (a bundle), `features` (one or more days). The column `model` holds the
    recipe key of the model (parameter `model_key`; without one, the sha256 of its file), so that
    a prediction found anywhere names what made it.

    Raises:
        BadData: inputs are broken, or the bundle was trained on another version of the view.
        GoldenMismatch: the model does not reproduce its golden rows.
    """
    view: FeatureView = load_features(parameters["usecase"], parameters.get("horizon", "")).VIEW
    bundle = Bundle.read(folder(inputs, "model"))
    check_view(bundle, view)
    days = [
        read_table(path / "features.parquet", view.schema.names)
        for path in folders(inputs, "features")
    ]
    table = pa.concat_tables(days)
    predictor = open_checked(bundle, parameters.get("threads", 1))
    try:
        outputs = predictor.predict(encode_table(bundle.signature, table))
    finally:
        predictor.close()
    key = parameters.get("model_key", bundle.header.model.sha256)
    write_table(out / "predictions.parquet", _predictions(view, bundle, table, outputs, key))
    metrics = {"mean_prediction": float(np.mean(outputs[:, 0]))} if len(outputs) else {}
    return Outcome(metrics, rows=table.num_rows)


def check_view(bundle: Bundle, view: FeatureView) -> None:
    """Raise BadData where the bundle was made for another view, or another version of it."""
    made = bundle.header.view
    if made is not None and (made.name, made.version) != (view.name, view.version):
        raise BadData(
            f"the model was trained on {made.name} version {made.version}",
            f"this code offers {view.name} version {view.version}",
            "Train it again, or check out the code that made it.",
        )


def _predictions(
    view: FeatureView, bundle: Bundle, table: pa.Table, outputs: Matrix, key: str
) -> pa.Table:
    columns = {view.entity: table[view.entity], view.as_of: table[view.as_of].cast(AS_OF)}
    for position, output in enumerate(bundle.signature.outputs):
        columns[output.name] = pa.array(np.ascontiguousarray(outputs[:, position]))
    columns["model"] = pa.array([key] * table.num_rows, pa.string())
    order = [(view.as_of, "ascending"), (view.entity, "ascending")]
    return pa.table(columns).sort_by(order)
