"""The shape of all trees at once, level by level: where nodes lie, and leaves from left to right.

Nodes of all trees are numbered through: splits first, tree by tree, then leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from registry.models.forest.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from registry.models.lightgbm_trees import Integers, Tree

MOST_DEPTH = 4096


@dataclass(frozen=True)
class Shape:
    """Of each node: its tree, its place in breadth-first order, its leaves' range.

    `first` is the number (from the left) of the first leaf below a node; of a split, `middle` is
    that of the first leaf on the right, and `distance` how far behind it its left child lies; the
    right child follows. `depth` and `leaves` are of each tree.
    """

    splits: int
    leaves: Integers
    depth: Integers
    tree: Integers
    place: Integers
    first: Integers
    middle: Integers
    distance: Integers


def make_shape(trees: Sequence[Tree]) -> Shape:
    """The shape of `trees`. Raises Unsupported for depths that no trained tree has."""
    leaves = np.array([tree.leaves for tree in trees], dtype=np.int64)
    splits = int((leaves - 1).sum())
    tree = np.concatenate([np.repeat(np.arange(len(trees)), leaves - 1),
                           np.repeat(np.arange(len(trees)), leaves)])  # fmt: skip
    left = _children([each.left for each in trees], leaves, splits)
    right = _children([each.right for each in trees], leaves, splits)
    first_split, first_leaf = _starts(leaves - 1), splits + _starts(leaves)
    roots = np.where(leaves > 1, first_split, first_leaf)
    levels = _levels(roots, left, right, splits)
    size = np.ones(len(tree), dtype=np.int64)
    for level in reversed(levels):
        size[level] = size[left[level]] + size[right[level]]
    first = np.zeros(len(tree), dtype=np.int64)
    place = np.zeros(len(tree), dtype=np.int64)
    depth = np.zeros(len(trees), dtype=np.int64)
    used = np.ones(len(trees), dtype=np.int64)
    for number, level in enumerate(levels):
        first[left[level]] = first[level]
        first[right[level]] = first[level] + size[left[level]]
        place[left[level]] = used[tree[level]] + 2 * _numbers_within(tree[level])
        place[right[level]] = place[left[level]] + 1
        used += 2 * np.bincount(tree[level], minlength=len(trees))
        depth[tree[level]] = number + 1
    middle = first[:splits] + size[left]
    return Shape(splits, leaves, depth, tree, place, first, middle, place[left] - place[:splits])


def _starts(counts: Integers) -> Integers:
    return np.concatenate([[0], np.cumsum(counts)[:-1]])


def _children(of: list[Integers], leaves: Integers, splits: int) -> Integers:
    """Children within trees (leaves below 0) as numbers of nodes."""
    child = np.concatenate(of)
    splits_before = np.repeat(_starts(leaves - 1), leaves - 1)
    leaves_before = np.repeat(splits + _starts(leaves), leaves - 1)
    return np.where(child < 0, leaves_before + ~child, splits_before + child)


def _levels(roots: Integers, left: Integers, right: Integers, splits: int) -> list[Integers]:
    """The splits of each level, in the order of their trees and from left to right."""
    levels: list[Integers] = []
    level = roots[roots < splits]
    while len(level):
        if len(levels) == MOST_DEPTH:
            raise Unsupported(f"a tree deeper than {MOST_DEPTH}")
        levels.append(level)
        below = np.stack([left[level], right[level]], axis=1).ravel()
        level = below[below < splits]
    return levels


def _numbers_within(groups: NDArray[np.int64]) -> Integers:
    """0, 1, 2 … within each run of equal values."""
    index = np.arange(len(groups))
    opens = np.ones(len(groups), dtype=np.bool_)
    opens[1:] = groups[1:] != groups[:-1]
    return index - np.maximum.accumulate(np.where(opens, index, 0))
