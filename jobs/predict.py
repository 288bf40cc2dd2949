"""Predict: the probabilities of one day's rows, or a shard of them, or the shards put together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jobs.outcome import Inputs, Outcome, Parameters, folder, folders
from jobs.scoring.engine import Columns, Engine, Scored, processors
from jobs.scoring.quarantine import MEND, count_rows
from jobs.scoring.rules import Rules
from jobs.scoring.sources import Source, pieces_of, split
from jobs.scoring.writing import join
from registry.errors import BadData
from registry.features.view import AS_OF, FeatureView
from registry.models.bundle import Bundle
from registry.models.predictor import open_checked
from registry.usecase import load_features, load_usecase

PREDICTIONS, QUARANTINE = "predictions.parquet", "quarantine.parquet"


def run(inputs: Inputs, parameters: Parameters, out: Path) -> Outcome:
    """Write `predictions.parquet`: the entity, as_of, the model's outputs, and which model.

    Inputs: `model` (a bundle), and `features` (one or more days) or `shards` of the same. Rows stay
    in the order of the features. With the parameters `shard` and `shards` only that shard of the
    row groups is scored, counted from 0. The column `model` holds the recipe key of the model
    (parameter `model_key`; without one, the sha256 of its file), so that a prediction found anywhere
    names what made it. Rows that cannot be scored are in `quarantine.parquet`, if there are any.

    Raises:
        BadData: inputs are broken, the bundle was trained on another version of the view, or more
            rows cannot be scored than the use case allows.
        GoldenMismatch: the model does not reproduce its golden rows.
    """
    horizon = parameters.get("horizon", "")
    declared = load_usecase(parameters["usecase"]).at(horizon).quarantine
    rules = Rules.of(declared, parameters.get("infinite", ()))
    bundle = Bundle.read(folder(inputs, "model"))
    if "shards" in inputs:
        return _joined(bundle, folders(inputs, "shards"), rules, out)
    return _scored(bundle, folders(inputs, "features"), parameters, rules, out)


def _scored(
    bundle: Bundle, days: Sequence[Path], parameters: Parameters, rules: Rules, out: Path
) -> Outcome:
    view: FeatureView = load_features(parameters["usecase"], parameters.get("horizon", "")).VIEW
    check_view(bundle, view)
    sources = [
        Source(f"{number}/features.parquet", path=day / "features.parquet")
        for number, day in enumerate(days)
    ]
    pieces, schema = pieces_of(sources)
    most = rules.most(sum(piece.rows for piece in pieces))  # of all, in a shard as well
    if "shard" in parameters:
        pieces = split(pieces, parameters["shards"])[parameters["shard"]]
    key = parameters.get("model_key", bundle.header.model.sha256)
    columns = Columns([view.entity], [view.as_of], {view.as_of: AS_OF}, {"model": key})
    predictor = open_checked(bundle)
    try:
        engine = Engine(
            bundle, predictor, columns, rules, parameters.get("threads") or processors()
        )
        return _outcome(engine.run(pieces, schema, out / PREDICTIONS, out / QUARANTINE, most))
    finally:
        predictor.close()


def _joined(bundle: Bundle, shards: Sequence[Path], rules: Rules, out: Path) -> Outcome:
    """The shards, in order, as if they had been scored at once."""
    quarantines = [path / QUARANTINE for path in shards if (path / QUARANTINE).is_file()]
    bad = sum(map(count_rows, quarantines))
    name = bundle.signature.outputs[0].name
    sums: list[float] = []
    rows = join(
        [path / PREDICTIONS for path in shards],
        out / PREDICTIONS,
        lambda batch: sums.append(float(np.sum(batch.column(name).to_numpy()))),
    )
    if bad > rules.most(rows + bad):
        raise BadData(f"{bad:,} rows are bad", f"{rules.most(rows + bad):,} may be", MEND)
    if quarantines:
        join(quarantines, out / QUARANTINE)
    return _outcome(Scored(rows, bad, sum(sums)))


def _outcome(found: Scored) -> Outcome:
    metrics = {"mean_prediction": found.total / found.rows} if found.rows else {}
    return Outcome({**metrics, "quarantined": float(found.quarantined)}, rows=found.rows)


def check_view(bundle: Bundle, view: FeatureView) -> None:
    """Raise BadData where the bundle was made for another view, or another version of it."""
    made = bundle.header.view
    if made is not None and (made.name, made.version) != (view.name, view.version):
        raise BadData(
            f"the model was trained on {made.name} version {made.version}",
            f"this code offers {view.name} version {view.version}",
            "Train it again, or check out the code that made it.",
        )
