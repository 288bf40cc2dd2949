"""One tree of a LightGBM text model, as arrays of which every index is in range.

Read as strictly as the library is lenient: it takes what it understands of a number, stops at an
empty line and looks at no index, so a text that could mean two things is refused.

Format: `Tree::ToString` and the constructor `Tree(const char*, size_t*)` of LightGBM 4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

_FLOATS = re.compile(rb"[-+0-9.eEinfa ]*")
_INTEGERS = re.compile(rb"(?:-?[0-9]{1,10}(?: +|$))*")
_MOST_LEAVES = 2**24
_SPLIT = ("split_feature", "threshold", "decision_type", "left_child", "right_child")
_SPLIT_INFO = ("split_gain", "internal_value", "internal_weight", "internal_count")
_LEAF_INFO = ("leaf_weight", "leaf_count")
_LINEAR = ("leaf_const", "num_features", "leaf_features", "leaf_coeff")
#: Of the fields of a tree, those that some files lack.
_OPTIONAL = {
    "leaf_weight", "internal_weight", "is_linear", "cat_boundaries", "cat_threshold", *_LINEAR
}  # fmt: skip
_FIELDS = {
    "num_leaves", "num_cat", "leaf_value", "shrinkage", *_SPLIT, *_SPLIT_INFO, *_LEAF_INFO,
    *_OPTIONAL,
}  # fmt: skip

NUMERICAL, CATEGORICAL = 0, 1  # bit 0 of decision_type
DEFAULT_LEFT = 2  # bit 1; bits 2 and 3 are the missing type
MISSING_ZERO, MISSING_NAN = 1, 2


@dataclass(frozen=True)
class Linear:
    """The models in the leaves of a linear tree: constants, then counts[leaf] terms for each."""

    constant: Floats
    counts: Integers
    features: Integers
    coefficients: Floats


@dataclass(frozen=True)
class Tree:
    """`leaves` leaves, one node fewer. A child below 0 is the leaf ~child.

    A categorical node's threshold is the number of its set: words[bounds[n]:bounds[n + 1]], 32
    codes to a word.
    """

    leaves: int
    feature: Integers
    threshold: Floats
    decision: Integers
    left: Integers
    right: Integers
    value: Floats
    bounds: Integers
    words: Integers
    linear: Linear | None


def read_tree(block: bytes, features: int) -> Tree:
    """The tree in `block`, from "Tree=" to its empty lines. Raises ValueError and KeyError."""
    body = block.rstrip(b"\n")
    if b"\n\n" in body:
        raise ValueError("an empty line within, where the library stops")
    tree = {name.decode("ascii"): value for name, value in fields_of(body, bare=False).items()}
    del tree["Tree"]
    if tree.keys() - _FIELDS or not tree.keys() | _OPTIONAL >= _FIELDS:
        raise ValueError(f"unexpected or absent: {', '.join(sorted(tree.keys() ^ _FIELDS))}"[:200])
    if not all(_FLOATS.fullmatch(value) for value in tree.values()):
        raise ValueError("a value is not a number")
    leaves = bounded(tree["num_leaves"], 1, _MOST_LEAVES)
    categories = bounded(tree["num_cat"], 0, _MOST_LEAVES)
    if tree.get("is_linear", b"0") not in (b"0", b"1"):
        raise ValueError("is_linear is neither 0 nor 1")
    linear = _linear(tree, leaves, features) if tree.get("is_linear") == b"1" else None
    # Of a tree of one leaf the library reads only its value, unless it is linear.
    whole = leaves > 1 or linear is not None
    value = _lengths(tree, leaves, whole)
    if leaves == 1:
        if whole:
            _categories(tree, np.zeros(0), categories)
        none, no = np.zeros(0, dtype=np.int64), np.zeros(0)
        return Tree(1, none, no, none, none, none, value, none, none, linear)
    feature, threshold, decision, left, right = _splits(tree, leaves, features)
    bounds, words = _categories(tree, threshold[(decision & CATEGORICAL) == 1], categories)
    return Tree(leaves, feature, threshold, decision, left, right, value, bounds, words, linear)


def _lengths(tree: dict[str, bytes], leaves: int, whole: bool) -> Floats:
    """The values of the leaves; on the way, that what is not used is well-formed, too."""
    value = floats(tree["leaf_value"])
    for name in ("leaf_value", *_LEAF_INFO, *_SPLIT_INFO):
        if name not in tree:
            continue
        found = len(floats(tree[name]))
        want = leaves - 1 if name in _SPLIT_INFO else leaves
        if found != want and (whole or name == "leaf_value"):
            raise ValueError(f"{name} has {found} values, not {want}")
    return value


def _splits(
    tree: dict[str, bytes], leaves: int, features: int
) -> tuple[Integers, Floats, Integers, Integers, Integers]:
    feature, decision, left, right = (
        _integers_of(tree, name, leaves - 1)
        for name in ("split_feature", "decision_type", "left_child", "right_child")
    )
    threshold = _floats_of(tree, "threshold", leaves - 1)
    if ((feature < 0) | (feature >= features)).any():
        raise ValueError("split_feature names no feature")
    if ((decision < 0) | (decision > 15)).any():
        raise ValueError("decision_type is unknown")
    children = np.sort(np.concatenate([left, right]))
    # Every leaf (-1 … -leaves) and every node but the root has exactly one parent, …
    if not np.array_equal(children, np.r_[-leaves:0, 1 : leaves - 1]):
        raise ValueError("its nodes do not form a tree")
    # … which does not yet keep nodes from being their own ancestors, apart from the root.
    if not (children_follow(left, right) or _reaches_all(left, right)):
        raise ValueError("its nodes do not form a tree: some are not below the root")
    return feature, threshold, decision, left, right


def children_follow(left: Integers, right: Integers) -> bool:
    """Whether every child has a higher number than its parent, as in what the library writes."""
    own = np.arange(len(left))
    return bool((((left < 0) | (left > own)) & ((right < 0) | (right > own))).all())


def _reaches_all(left: Integers, right: Integers) -> bool:
    lefts, rights = left.tolist(), right.tolist()
    found, open_nodes = 0, [0]
    while open_nodes:
        node = open_nodes.pop()
        found += 1
        open_nodes += [child for child in (lefts[node], rights[node]) if child >= 0]
    return found == len(lefts)


def _categories(tree: dict[str, bytes], used: Floats, categories: int) -> tuple[Integers, Integers]:
    if not ((used >= 0) & (used < categories) & (used == np.trunc(used))).all():
        raise ValueError("a categorical split names no category set")
    if not categories:
        return np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int64)
    bounds, words = integers(tree["cat_boundaries"]), integers(tree["cat_threshold"])
    if len(bounds) != categories + 1 or bounds[0] != 0 or bounds[-1] != len(words):
        raise ValueError("cat_boundaries do not add up")
    if (np.diff(bounds) < 0).any() or (words < 0).any() or (words >= 2**32).any():
        raise ValueError("cat_threshold is out of range")
    return bounds, words


def _linear(tree: dict[str, bytes], leaves: int, features: int) -> Linear:
    absent = [name for name in _LINEAR if name not in tree]
    if absent:
        raise ValueError(f"a linear tree without {', '.join(absent)}")
    counts = _integers_of(tree, "num_features", leaves)
    if (counts < 0).any() or counts.sum() > _MOST_LEAVES:
        raise ValueError("num_features of the linear models are out of range")
    total = int(counts.sum())
    used = _integers_of(tree, "leaf_features", total)
    if ((used < 0) | (used >= features)).any():
        raise ValueError("leaf_features of a linear model name no feature")
    constant = _floats_of(tree, "leaf_const", leaves)
    coefficients = _floats_of(tree, "leaf_coeff", total)
    for values in (constant, coefficients):
        # The library reads these with std::stod, which throws; and that ends the process.
        if not np.isfinite(values).all() or (abs(values[values != 0]) < np.finfo(float).tiny).any():
            raise ValueError("a linear model has a number that is out of range")
    return Linear(constant, counts, used, coefficients)


def _integers_of(tree: dict[str, bytes], name: str, count: int) -> Integers:
    values = integers(tree[name])
    _check_count(len(values), name, count)
    return values


def _floats_of(tree: dict[str, bytes], name: str, count: int) -> Floats:
    values = floats(tree[name])
    _check_count(len(values), name, count)
    return values


def _check_count(found: int, name: str, count: int) -> None:
    if found != count:
        raise ValueError(f"{name} has {found} values, not {count}")


def fields_of(text: bytes, *, bare: bool = True) -> dict[bytes, bytes]:
    """The lines `name=value` of `text`, and lines without a value if `bare`. Raises ValueError."""
    if b"\r" in text:
        raise ValueError("it has carriage returns, as if text had been converted")
    fields: dict[bytes, bytes] = {}
    for line in text.split(b"\n"):
        name, equals, value = line.partition(b"=")
        if line and (not name or not (equals or bare)):
            raise ValueError(f"{line[:40]!r} is no field")
        if name in fields:
            raise ValueError(f"{name.decode('ascii', 'replace')} is given twice")
        if line:
            fields[name] = value
    return fields


def bounded(text: bytes, low: int, high: int) -> int:
    """The number in `text`, from `low` to `high`. Raises ValueError."""
    if not re.fullmatch(rb"[0-9]{1,9}", text) or not low <= int(text) <= high:
        raise ValueError(f"{text[:20]!r} is not between {low} and {high}")
    return int(text)


def floats(text: bytes) -> Floats:
    """The numbers in `text`, rounded as the library rounds them. Raises ValueError."""
    return np.array(text.split(), dtype=np.float64)


def integers(text: bytes) -> Integers:
    """The whole numbers in `text`, written as such. Raises ValueError."""
    if not _INTEGERS.fullmatch(text.lstrip(b" ")):
        raise ValueError(f"{text[:20]!r} is not a list of integers")
    return np.array(text.split(), dtype=np.int64)
