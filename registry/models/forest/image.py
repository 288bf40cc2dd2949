"""The image: what native/image.h describes, written as bytes.

The structs there and the arrays here are two views of one format; `FORMAT` counts its versions.
"""

from __future__ import annotations

import hashlib
import re
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from registry.models.forest.columns import Columns, Splits, make_columns
from registry.models.forest.errors import Unsupported
from registry.models.forest.shape import Shape, make_shape
from registry.models.lightgbm_text import read_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from registry.models.lightgbm_trees import Integers, Tree

FORMAT = 1
MAGIC = b"PSFOREST"
_ORDER = 0x01020304
_HEAD = struct.Struct("=8sIIQ32s6I2d")
_SECTION = struct.Struct("=QQ")
_DIGEST = slice(24, 56)
_PARTS = 10
_ALIGNMENT = 64
_LEAF_BIN = 255
#: Bit vectors hold trees of up to 32 planes of 8 leaves.
_MOST_PLANES = 32
_MOST_SMALL = 256  # leaves of a tree whose nodes have 32 bits
_MOST_BYTES = 2**32 - 1
#: Beyond this the library reads sparse rows by another way, which skips NaN in linear leaves.
_MOST_LINEAR_FEATURES = 100_000

_TRANSFORMS = {"identity": 0, "sigmoid": 1, "sigmoids": 2, "softmax": 3, "exp": 4, "log1p": 5,
               "square": 6}  # fmt: skip
_OF_OBJECTIVE = {
    "": "identity", "regression": "identity", "regression_l1": "identity", "huber": "identity",
    "fair": "identity", "quantile": "identity", "mape": "identity", "lambdarank": "identity",
    "rank_xendcg": "identity", "binary": "sigmoid", "cross_entropy": "sigmoid",
    "cross_entropy_lambda": "log1p", "poisson": "exp", "gamma": "exp", "tweedie": "exp",
    "multiclass": "softmax", "multiclassova": "sigmoids",
}  # fmt: skip
_ROOTED = {"regression", "regression_l1", "fair", "quantile", "mape"}  # those that know `sqrt`

_RULE = np.dtype([("column", "<u2"), ("bin", "i1"), ("keep", "u1")])
_LINEAR = np.dtype([("constant", "<f8"), ("first", "<u4"), ("count", "<u4")])
_TERM = np.dtype([("coefficient", "<f8"), ("feature", "<u4"), ("unused", "<u4")])


def build_image(model: bytes, iterations: int | None = None) -> bytes:
    """The image of a text model, of its first `iterations` where they are given.

    Raises:
        BadData: the text is not a well-formed model.
        Unsupported: the evaluator lacks something that the model needs.
    """
    text, trees = read_text(model, keep=True)
    if iterations is not None and iterations > 0:
        trees = trees[: iterations * text.outputs]
    transform, sigmoid = transform_of(text.objective)
    columns, shape = make_columns(trees, Splits.of(trees)), make_shape(trees)
    nodes, roots, wide = _nodes(columns, shape)
    small = 1 if wide else int(shape.leaves.max())
    head = (
        len(text.names), text.outputs, max(len(columns.rows), small), int(wide),
        _TRANSFORMS[transform], int(text.averaged), len(trees) / text.outputs, sigmoid,
    )  # fmt: skip
    planes = np.where(shape.leaves <= 8 * _MOST_PLANES, -(-shape.leaves // 8), 0)
    rules, plane_starts = _rules(columns, shape, planes)
    room = np.where(planes > 0, 8 * planes, shape.leaves)
    value = np.cumsum(room) - room
    linear = np.array([tree.linear is not None for tree in trees])
    if linear.any() and len(text.names) > _MOST_LINEAR_FEATURES:
        raise Unsupported(f"linear trees over {len(text.names)} features")
    before = np.cumsum(planes + 1) - planes - 1
    rows = (roots, 2 * shape.leaves - 1, shape.depth, value, shape.leaves, before, planes, linear)
    table = np.stack(rows, axis=1).astype(np.uint32)
    leaves = value[shape.tree[shape.splits :]] + shape.first[shape.splits :]
    parts: list[NDArray[Any]] = [columns.rows, columns.thresholds, columns.words, table, nodes,
             *_leaves(trees, leaves, int(room.sum()), plane_starts, rules)]  # fmt: skip
    return _assemble(head, parts)


def _leaves(
    trees: Sequence[Tree],
    where: Integers,
    size: int,
    planes: NDArray[np.uint32],
    rules: NDArray[np.void],
) -> list[NDArray[Any]]:
    """The parts from the values on; `where` are the leaves' places among `size`."""
    values = np.zeros(size)
    values[where] = np.concatenate([tree.value for tree in trees])
    linear, terms = np.zeros(0, dtype=_LINEAR), np.zeros(0, dtype=_TERM)
    if any(tree.linear for tree in trees):
        linear, terms = _linear(trees, where, size)
    return [values, planes, rules, linear, terms]


def transform_of(objective: str) -> tuple[str, float]:
    """What turns raw scores into outputs, and the factor of its sigmoid. Raises Unsupported."""
    name, _, rest = objective.partition(" ")
    if name not in _OF_OBJECTIVE:
        raise Unsupported(f"the objective {name}")
    if rest == "sqrt" and name in _ROOTED:
        return "square", 1.0
    factor = re.search(r"(?:^| )sigmoid:(\S+)$", rest)
    sigmoid = float(factor[1]) if factor else 1.0
    if name in ("binary", "multiclassova") and not (factor and 0 < sigmoid < np.inf):
        raise Unsupported(f"the objective {objective}")
    return _OF_OBJECTIVE[name], sigmoid


def _nodes(columns: Columns, shape: Shape) -> tuple[NDArray[np.uint32], Integers, bool]:
    """The nodes of all trees, where each tree's begin, and whether they have 64 bits."""
    wide = bool(shape.leaves.max() > _MOST_SMALL or (shape.distance > 255).any())
    unit = 2 if wide else 1
    counts = (2 * shape.leaves - 1) * unit
    roots = np.cumsum(counts) - counts
    at = roots[shape.tree] + shape.place * unit
    nodes = np.zeros(int(counts.sum()), dtype=np.uint32)
    split, leaf = at[: shape.splits], at[shape.splits :]
    number = shape.first[shape.splits :]
    nodes[split] = columns.column | columns.bin << 16
    nodes[leaf] = _LEAF_BIN << 16
    if wide:
        nodes[split + 1], nodes[leaf + 1] = shape.distance, number
    else:
        nodes[split] |= (shape.distance << 24).astype(np.uint32)
        nodes[leaf] |= number.astype(np.uint32)
    return nodes, roots, wide


def _rules(
    columns: Columns, shape: Shape, planes: Integers
) -> tuple[NDArray[np.void], NDArray[np.uint32]]:
    """The rules of all small trees, and where those of each plane begin."""
    tree = shape.tree[: shape.splits]
    small = np.flatnonzero(planes[tree] > 0)
    low, high = shape.first[small], shape.middle[small]  # the leaves on the left of a split
    before = np.cumsum(planes + 1) - planes - 1
    found = []
    for plane in range(max(1, int(planes.max()))):
        begin, end = np.clip(low - 8 * plane, 0, 8), np.clip(high - 8 * plane, 0, 8)
        hit = np.flatnonzero(end > begin)
        keep = 255 ^ ((1 << end[hit]) - (1 << begin[hit]))
        split = small[hit]
        found.append((before[tree[split]] + plane, columns.column[split], columns.bin[split], keep))
    slot, column, bins, keep = (np.concatenate(each) for each in zip(*found, strict=True))
    order = np.lexsort((bins, column, slot))
    rules = np.zeros(len(order), dtype=_RULE)
    rules["column"], rules["bin"], rules["keep"] = column[order], bins[order] - 127, keep[order]
    starts = np.searchsorted(slot[order], np.arange(int((planes + 1).sum())))
    return rules, starts.astype(np.uint32)


def _linear(
    trees: Sequence[Tree], where: Integers, size: int
) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """The models of leaves, at the places of their values, and the terms of all."""
    leaves, terms, done, begun = np.zeros(size, dtype=_LINEAR), [], 0, 0
    for tree in trees:
        place = where[done : done + tree.leaves]
        done += tree.leaves
        if tree.linear is None:
            continue
        counts = tree.linear.counts
        leaves["constant"][place], leaves["count"][place] = tree.linear.constant, counts
        leaves["first"][place] = begun + np.cumsum(counts) - counts
        mine = np.zeros(int(counts.sum()), dtype=_TERM)
        mine["coefficient"], mine["feature"] = tree.linear.coefficients, tree.linear.features
        begun += len(mine)
        terms.append(mine)
    return leaves, np.concatenate(terms)


def _assemble(head: tuple[int | float, ...], parts: Sequence[NDArray[Any]]) -> bytes:
    end = _aligned(_HEAD.size + _PARTS * _SECTION.size)
    sections = b""
    for part in parts:
        sections += _SECTION.pack(end, len(part))
        end = _aligned(end + part.nbytes)
    if end > _MOST_BYTES:
        raise Unsupported(f"an image of {end} bytes")
    image = bytearray(end)
    image[: _HEAD.size] = _HEAD.pack(MAGIC, FORMAT, _ORDER, end, bytes(32), *head)
    image[_HEAD.size : _HEAD.size + len(sections)] = sections
    for number, part in enumerate(parts):
        offset = _SECTION.unpack_from(sections, number * _SECTION.size)[0]
        image[offset : offset + part.nbytes] = part.tobytes()
    image[_DIGEST] = digest_of(image)
    return bytes(image)


class Head(NamedTuple):
    """What the evaluator needs to know of an image."""

    features: int
    outputs: int


def header_of(image: bytes | memoryview) -> Head:
    """Features and outputs of a checked image."""
    fields = _HEAD.unpack_from(image)
    return Head(fields[5], fields[6])


def digest_of(image: bytes | bytearray | memoryview) -> bytes:
    """SHA-256 of all that follows the digest in `image`."""
    return hashlib.sha256(memoryview(image)[_DIGEST.stop :]).digest()


def is_intact(image: bytes | memoryview) -> bool:
    """Whether the image is whole: its digest is the one it carries."""
    return len(image) > _HEAD.size and bytes(image[_DIGEST]) == digest_of(image)


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT
