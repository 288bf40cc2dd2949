"""An evaluation cut into parts: where does a model gain over the base rate, and where not?"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs import measures
from jobs.window import Labels

#: Parts with fewer rows say too little to be shown.
LEAST_ROWS = 20

SCHEMA = pa.schema([
    ("slice", pa.string()), ("value", pa.string()), ("rows", pa.int64()),
    ("label_rate", pa.float64()), ("predicted", pa.float64()), ("auc", pa.float64()),
    ("log_loss", pa.float64()), ("base_log_loss", pa.float64()),
    ("gain", pa.float64()), ("spread", pa.float64()),
])  # fmt: skip


def slices_of(module: ModuleType, table: pa.Table) -> Mapping[str, pa.Array]:
    """What a use case's label module declares as `slices(features)`: a text for each row.

    A use case without any gets none.
    """
    declared = getattr(module, "slices", None)
    return {} if declared is None else dict(declared(table))


def by_slice(
    slices: Mapping[str, pa.Array], labels: Labels, model: Labels, base: Labels
) -> pa.Table:
    """One row for each value of each slice with enough rows, by name and value.

    `gain` is how much lower the model's log loss is than the base rate's, `spread` half the width
    of its 95 % interval. An AUC of a part with one class is 0.5.
    """
    found = [
        {"slice": name, "value": value, **_part(np.asarray(pc.equal(values, value)), labels, model, base)}
        for name, values in slices.items()
        for value in sorted(pc.unique(values).drop_null().to_pylist())
    ]  # fmt: skip
    kept = [row for row in found if row["rows"] >= LEAST_ROWS]
    return pa.Table.from_pylist(kept, SCHEMA)


def _part(
    where: np.ndarray[tuple[int], np.dtype[np.bool_]], labels: Labels, model: Labels, base: Labels
) -> dict[str, float]:
    true, ours, theirs = labels[where], model[where], base[where]
    gain = measures.difference(measures.losses(true, theirs), measures.losses(true, ours))
    return {
        "rows": len(true),
        "label_rate": float(true.mean()),
        "predicted": float(ours.mean()),
        "auc": measures.auc(true, ours),
        "log_loss": measures.log_loss(true, ours),
        "base_log_loss": measures.log_loss(true, theirs),
        "gain": gain.mean,
        "spread": gain.spread,
    }
