"""Columns: the bytes into which a row is turned, so that every split becomes `rank > bin`.

See native/image.h for what a column is. A feature has one for each way in which its splits treat
missing values, one for each 255 thresholds, and one for each set of categories.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from registry.models.forest.errors import Unsupported
from registry.models.lightgbm_trees import CATEGORICAL, DEFAULT_LEFT, MISSING_NAN, MISSING_ZERO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from registry.models.lightgbm_trees import Floats, Integers, Tree

MISSING_NONE, NAN_LEFT, NAN_RIGHT, ZERO_LEFT, ZERO_RIGHT, CATEGORY = range(6)
MOST_THRESHOLDS = 255
MOST_COLUMNS = 65_536


@dataclass(frozen=True)
class Columns:
    """Rows (feature, missing, first, count), what they index, and column and bin of each split."""

    rows: NDArray[np.uint32]
    thresholds: Floats
    words: NDArray[np.uint32]
    column: Integers
    bin: Integers


def make_columns(trees: Sequence[Tree], splits: Splits) -> Columns:
    """The columns of all splits. Raises Unsupported."""
    categorical = (splits.decision & CATEGORICAL) == 1
    column = np.zeros(len(splits.feature), dtype=np.int64)
    bins = np.zeros(len(splits.feature), dtype=np.int64)
    numbers = ~categorical
    rows, thresholds, column[numbers], bins[numbers] = _numbers(
        splits.feature[numbers], _missing(splits.decision[numbers]), splits.threshold[numbers]
    )
    sets = _Sets(len(rows))
    for split in np.flatnonzero(categorical).tolist():
        tree = trees[splits.tree[split]]
        column[split] = sets.column(int(splits.feature[split]), _set(tree, splits.threshold[split]))
    rows = np.concatenate([rows, np.array(sets.rows, dtype=np.uint32).reshape(-1, 4)])
    if len(rows) > MOST_COLUMNS:
        raise Unsupported(f"{len(rows)} columns; at most {MOST_COLUMNS} are supported")
    return Columns(rows, thresholds, np.array(sets.words, dtype=np.uint32), column, bins)


@dataclass(frozen=True)
class Splits:
    """The splits of all trees, one after the other, and the tree of each."""

    tree: Integers
    feature: Integers
    threshold: Floats
    decision: Integers

    @classmethod
    def of(cls, trees: Sequence[Tree]) -> Splits:
        """Those of `trees`."""
        counts = [tree.leaves - 1 for tree in trees]
        return cls(
            np.repeat(np.arange(len(trees)), counts),
            np.concatenate([tree.feature for tree in trees]),
            np.concatenate([tree.threshold for tree in trees]),
            np.concatenate([tree.decision for tree in trees]),
        )


def _missing(decision: Integers) -> Integers:
    kind, left = (decision >> 2) & 3, (decision & DEFAULT_LEFT) > 0
    return np.select(
        [kind == MISSING_NAN, kind == MISSING_ZERO],
        [np.where(left, NAN_LEFT, NAN_RIGHT), np.where(left, ZERO_LEFT, ZERO_RIGHT)],
        MISSING_NONE,
    )


def _numbers(
    feature: Integers, missing: Integers, threshold: Floats
) -> tuple[NDArray[np.uint32], Floats, Integers, Integers]:
    """Rows, thresholds, and column and bin of each numerical split."""
    if np.isnan(threshold).any():
        raise Unsupported("a threshold is NaN")
    key = feature * CATEGORY + missing
    order = np.lexsort((threshold, key))
    key, sorted_threshold = key[order], threshold[order]
    first_of_key = _changes(key)
    distinct = first_of_key | _changes(sorted_threshold)
    # The place of each distinct threshold among those of its key, which is cut into columns.
    number = np.cumsum(distinct) - 1
    start = np.maximum.accumulate(np.where(first_of_key, number, 0))
    place = number - start
    opens = distinct & (place % MOST_THRESHOLDS == 0)
    column = np.cumsum(opens) - 1
    counts = np.bincount(column[distinct], minlength=int(opens.sum()))
    rows = np.stack(
        [key[opens] // CATEGORY, key[opens] % CATEGORY, number[opens], counts], axis=1
    ).astype(np.uint32)
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return (
        rows, sorted_threshold[distinct], column[back], (place % MOST_THRESHOLDS)[back]
    )  # fmt: skip


def _changes(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    changed = np.ones(len(values), dtype=np.bool_)
    changed[1:] = values[1:] != values[:-1]
    return changed


def _set(tree: Tree, number: float) -> tuple[int, ...]:
    """The words of a set of categories, without those at its end that hold none."""
    words = tree.words[tree.bounds[int(number)] : tree.bounds[int(number) + 1]].tolist()
    while words and not words[-1]:
        words.pop()
    return tuple(words)


@dataclass
class _Sets:
    """Columns of sets, numbered from `first`; splits with the same feature and set share one."""

    first: int
    rows: list[tuple[int, int, int, int]] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    known: dict[tuple[int, tuple[int, ...]], int] = field(default_factory=dict)

    def column(self, feature: int, words: tuple[int, ...]) -> int:
        """The number of the column for this feature and set."""
        key = (feature, words)
        if key not in self.known:
            self.known[key] = self.first + len(self.rows)
            self.rows.append((feature, CATEGORY, len(self.words), len(words)))
            self.words += [*words, 0]
        return self.known[key]
