"""LightGBM's text format, read far enough to know that the library can be trusted with it.

The library parses trees on several threads from offsets that the file itself gives, follows child
indices without looking, and on some malformed files ends the process (measured: a file cut in
half makes 4.7 abort). So everything that its loader or its evaluator uses as an index or a length
is checked here first.

Format: `GBDT::SaveModelToString` and `Tree::ToString` of LightGBM 4, "version=v4" (and v3).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.errors import BadData

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUMBERS = re.compile(rb"[-+0-9.eEinfa ]*")
_MOST_FEATURES = 1_000_000
_MOST_CLASSES = 10_000
_SPLIT_FIELDS = ("split_feature", "split_gain", "threshold", "decision_type", "left_child",
                 "right_child", "internal_value", "internal_weight", "internal_count")  # fmt: skip
_LEAF_FIELDS = ("leaf_value", "leaf_weight", "leaf_count")
#: Of the fields of a tree, those that older files may lack.
_OPTIONAL = {"leaf_weight", "internal_weight", "is_linear", "cat_boundaries", "cat_threshold"}
_TREE_FIELDS = {*_SPLIT_FIELDS, *_LEAF_FIELDS, *_OPTIONAL, "num_leaves", "num_cat", "shrinkage"}
_CATEGORICAL = 1  # bit 0 of decision_type


@dataclass(frozen=True)
class TextModel:
    """What the header and the tail of a model say; its trees were checked.

    `categorical` holds the indices of categorical features as the training parameters name them;
    `pandas_categorical` the vocabularies of a pandas frame, where one was used.
    """

    names: tuple[str, ...]
    infos: tuple[str, ...]
    outputs: int
    objective: str
    trees: int
    categorical: tuple[int, ...]
    pandas_categorical: list[list[Any]] | None


def check_text(model: bytes) -> TextModel:
    """Check a model file. Raises BadData naming the first fault."""
    try:
        return _check(model)
    except (ValueError, KeyError, OverflowError) as error:
        raise BadData(
            "not a well-formed LightGBM text model",
            f"{type(error).__name__}: {error}"[:300],
            "Export it again with Booster.save_model.",
        ) from None


def _check(model: bytes) -> TextModel:
    if not model.startswith(b"tree\n") or b"\0" in model:
        raise ValueError("it does not begin with 'tree', or holds NUL bytes")
    start = model.find(b"\nTree=0\n") + 1
    if not start:
        raise ValueError("it holds no trees")
    header = _fields(model[:start].splitlines()[1:])
    names = header[b"feature_names"].decode().split(" ")
    infos = header[b"feature_infos"].decode().split(" ")
    features = _bounded(header[b"max_feature_idx"], 0, _MOST_FEATURES) + 1
    outputs = _bounded(header[b"num_class"], 1, _MOST_CLASSES)
    per_iteration = _bounded(header[b"num_tree_per_iteration"], 1, _MOST_CLASSES)
    if len(names) != features or len(infos) != features or "" in names:
        raise ValueError(f"{features} features, but {len(names)} names and {len(infos)} ranges")
    trees, tail = _check_trees(model, start, header[b"tree_sizes"], features)
    if trees % per_iteration or per_iteration not in (1, outputs):
        raise ValueError(f"{trees} trees do not fit {per_iteration} per iteration")
    objective = header.get(b"objective", b"").decode()
    return TextModel(tuple(names), tuple(infos), outputs, objective, trees, *_tail(tail))


def _check_trees(model: bytes, start: int, sizes: bytes, features: int) -> tuple[int, bytes]:
    lengths = _integers(sizes)
    if not len(lengths) or (lengths <= 0).any() or lengths.sum() > len(model) - start:
        raise ValueError("tree_sizes do not add up")
    position = start
    for index, length in enumerate(lengths.tolist()):
        block = model[position : position + length]
        if not block.startswith(b"Tree=%d\n" % index) or not block.endswith(b"\n"):
            raise ValueError(f"tree {index} is not where tree_sizes says")
        try:
            _check_tree(_fields(block.splitlines()[1:]), features)
        except (ValueError, KeyError) as error:
            raise ValueError(f"tree {index}: {error}") from None
        position += length
    if not model.startswith(b"end of trees\n", position):
        raise ValueError("the trees do not end where tree_sizes says")
    return len(lengths), model[position:]


def _check_tree(tree: dict[bytes, bytes], features: int) -> None:
    names = {name.decode("ascii") for name in tree}
    if names - _TREE_FIELDS or not names | _OPTIONAL >= _TREE_FIELDS:
        raise ValueError(f"unexpected or absent: {', '.join(sorted(names ^ _TREE_FIELDS))}"[:200])
    leaves = _bounded(tree[b"num_leaves"], 1, 2**24)
    categories = _bounded(tree[b"num_cat"], 0, 2**24)
    if tree.get(b"is_linear", b"0") != b"0":
        raise ValueError("linear trees are not supported")
    if not all(_NUMBERS.fullmatch(value) for value in tree.values()):
        raise ValueError("a value is not a number")
    fields = {name: _floats(tree[name.encode()]) for name in (*_SPLIT_FIELDS, *_LEAF_FIELDS)
              if name.encode() in tree}  # fmt: skip
    _check_lengths(fields, leaves)
    if leaves > 1:
        _check_splits(fields, leaves, features)
        _check_categories(tree, fields, categories)


def _check_lengths(fields: dict[str, NDArray[np.float64]], leaves: int) -> None:
    for name, values in fields.items():
        want = leaves if name in _LEAF_FIELDS else leaves - 1
        # A tree of one leaf may leave its other fields empty.
        if len(values) != want and not (leaves == 1 and name != "leaf_value"):
            raise ValueError(f"{name} has {len(values)} values, not {want}")


def _check_splits(fields: dict[str, NDArray[np.float64]], leaves: int, features: int) -> None:
    split, decision = fields["split_feature"], fields["decision_type"]
    if not _whole(split, 0, features - 1):
        raise ValueError("split_feature names no feature")
    if not _whole(decision, 0, 15):
        raise ValueError("decision_type is unknown")
    children = np.sort(np.concatenate([fields["left_child"], fields["right_child"]]))
    # Every leaf (-1 … -leaves) and every node but the root has exactly one parent: a tree.
    if not np.array_equal(children, np.r_[-leaves:0, 1 : leaves - 1]):
        raise ValueError("its nodes do not form a tree")


def _check_categories(
    tree: dict[bytes, bytes], fields: dict[str, NDArray[np.float64]], categories: int
) -> None:
    categorical = (fields["decision_type"].astype(np.int64) & _CATEGORICAL) == 1
    used = fields["threshold"][categorical]
    if used.size and not _whole(used, 0, categories - 1):
        raise ValueError("a categorical split names no category set")
    if categories:
        bounds, words = _integers(tree[b"cat_boundaries"]), _integers(tree[b"cat_threshold"])
        if len(bounds) != categories + 1 or bounds[0] != 0 or bounds[-1] != len(words):
            raise ValueError("cat_boundaries do not add up")
        if (np.diff(bounds) < 0).any() or (words < 0).any() or (words >= 2**32).any():
            raise ValueError("cat_threshold is out of range")


def _tail(tail: bytes) -> tuple[tuple[int, ...], list[list[Any]] | None]:
    text = tail.decode("utf-8")
    if "\nend of parameters" not in text:
        raise ValueError("it ends before its parameters do")
    found = re.search(r"^\[categorical_feature: ([0-9,]*)\]$", text, re.MULTILINE)
    indices = tuple(int(i) for i in found[1].split(",") if i) if found else ()
    line = re.search(r"^pandas_categorical:(.*)$", text, re.MULTILINE)
    vocabularies = json.loads(line[1]) if line else None
    if vocabularies is not None and not (
        isinstance(vocabularies, list) and all(isinstance(v, list) for v in vocabularies)
    ):
        raise ValueError("pandas_categorical is not a list of lists")
    return indices, vocabularies or None


def _fields(lines: list[bytes]) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for line in lines:
        if line:
            key, _, value = line.partition(b"=")
            if key in fields:
                raise ValueError(f"{key.decode('ascii', 'replace')} is given twice")
            fields[key] = value
    return fields


def _bounded(text: bytes, low: int, high: int) -> int:
    if not re.fullmatch(rb"[0-9]{1,9}", text) or not low <= int(text) <= high:
        raise ValueError(f"{text[:20]!r} is not between {low} and {high}")
    return int(text)


def _floats(text: bytes) -> NDArray[np.float64]:
    return np.array(text.split(), dtype=np.float64)


def _integers(text: bytes) -> NDArray[np.int64]:
    if not re.fullmatch(rb"[0-9 ]*", text):
        raise ValueError(f"{text[:20]!r} is not a list of integers")
    return np.array([int(token) for token in text.split()], dtype=np.int64)


def _whole(values: NDArray[np.float64], low: int, high: int) -> bool:
    return bool(((values >= low) & (values <= high) & (values == np.trunc(values))).all())
