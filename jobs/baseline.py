"""The base rate: how often the label was true in the window, by a use case's own groups.

A model that does not beat it has learnt nothing beyond what a table of averages says.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.window import Labels

#: A group counts as if it had this many more rows at the rate of the whole window.
_PRIOR_ROWS = 20.0


def base_rate(groups: pa.Array, labels: Labels, asked: pa.Array) -> Labels:
    """Probability of the label for each of `asked` groups, from `groups` with their `labels`.

    (true labels + prior · overall rate) / (rows + prior): a group never seen gets the overall
    rate, a small one is drawn towards it.
    """
    known = pc.unique(groups)
    index = pc.index_in(groups, value_set=known).to_numpy(zero_copy_only=False)
    rows = np.bincount(index, minlength=len(known)).astype(np.float64)
    true = np.bincount(index, weights=labels, minlength=len(known))
    overall = float(labels.mean())
    rates = (true + _PRIOR_ROWS * overall) / (rows + _PRIOR_ROWS)
    found = pc.fill_null(pc.index_in(asked, value_set=known), len(known))
    result: Labels = np.append(rates, overall)[found.to_numpy(zero_copy_only=False)]
    return result
