"""Columns that tell the label because they were written down after it: no model may learn from them.

A reason for leaving is filled for those who left and for nobody else. Evaluation praises a model that
has read it, and in use it is empty. Found is what is blatant; the rest only people know.
"""

from __future__ import annotations

import math

import pyarrow as pa
import pyarrow.compute as pc

#: A column is named when chance would make it tell the label as seldom as this.
_CHANCE = 1e-9
#: More different values than this do not tell the label, they name the row.
_MOST_VALUES = 20


def tells(column: pa.ChunkedArray, labels: pa.ChunkedArray) -> str | None:
    """How `column` gives away `labels` (bool, null where unknown), in words; None if it does not."""
    known = pa.table({"value": column, "filled": column.is_valid(), "label": labels})
    known = known.filter(known["label"].is_valid())
    true = pc.sum(known["label"]).as_py() or 0
    if not 0 < true < known.num_rows:
        return None
    for label, share in ((True, true / known.num_rows), (False, 1 - true / known.num_rows)):
        filled = known.filter(known["filled"])
        alike = pc.all(pc.equal(filled["label"], label)).as_py()
        if alike and filled.num_rows * math.log(share) < math.log(_CHANCE):
            return f"it has a value only where the label is {'true' if label else 'false'}"
    return "each of its values has one label" if _decides(known) else None


def _decides(known: pa.Table) -> bool:
    """Whether every value, the missing one among them, goes with one label."""
    if pc.count_distinct(known["value"], mode="all").as_py() > min(
        _MOST_VALUES, known.num_rows // 5
    ):
        return False
    groups = known.group_by("value").aggregate([("label", "min"), ("label", "max")])
    return bool(pc.all(pc.equal(groups["label_min"], groups["label_max"])).as_py())
