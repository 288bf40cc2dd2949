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

from registry.errors import BadData
from registry.models.lightgbm_trees import Tree, bounded, fields_of, integers, read_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_FEATURES = 1_000_000
_MOST_CLASSES = 10_000
_NEWLINE = 10
_OBJECTIVE = re.compile(
    r"[a-z0-9_]+(?: sqrt| num_class:[0-9]+)?(?: sigmoid:[0-9.]+(?:e[-+]?[0-9]+)?)?"
)


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
    averaged: bool
    categorical: tuple[int, ...]
    pandas_categorical: list[list[Any]] | None


def check_text(model: bytes) -> TextModel:
    """Check a model file. Raises BadData naming the first fault."""
    return read_text(model)[0]


def read_text(model: bytes, *, keep: bool = False) -> tuple[TextModel, list[Tree]]:
    """Check a model file; its trees as well where `keep`. Raises BadData naming the first fault."""
    try:
        return _read(model, keep)
    except (ValueError, KeyError, OverflowError, RecursionError) as error:
        raise BadData(
            "not a well-formed LightGBM text model",
            f"{type(error).__name__}: {error}"[:300],
            "Export it again with Booster.save_model.",
        ) from None


def _read(model: bytes, keep: bool) -> tuple[TextModel, list[Tree]]:
    if not model.startswith(b"tree\n") or b"\0" in model:
        raise ValueError("it does not begin with 'tree', or holds NUL bytes")
    start = model.find(b"\nTree=") + 1
    if not start:
        raise ValueError("it holds no trees")
    header = fields_of(model[:start])
    names = header[b"feature_names"].decode().split(" ")
    infos = header[b"feature_infos"].decode().split(" ")
    features = bounded(header[b"max_feature_idx"], 0, _MOST_FEATURES) + 1
    outputs = bounded(header[b"num_class"], 1, _MOST_CLASSES)
    per_iteration = bounded(header[b"num_tree_per_iteration"], 1, _MOST_CLASSES)
    if len(names) != features or len(infos) != features or "" in names:
        raise ValueError(f"{features} features, but {len(names)} names and {len(infos)} ranges")
    blocks = _blocks(model, start, header[b"tree_sizes"])
    if len(blocks) % per_iteration or per_iteration != outputs:
        raise ValueError(f"{len(blocks)} trees do not fit {per_iteration} per iteration")
    objective = _objective(header, outputs)
    trees = [tree for tree in _trees(model, blocks, features) if keep]
    tail = _tail(model[blocks[-1].stop :])
    averaged = b"average_output" in header
    text = TextModel(tuple(names), tuple(infos), outputs, objective, len(blocks), averaged, *tail)
    return text, trees


def _objective(header: dict[bytes, bytes], outputs: int) -> str:
    """The library indexes by the objective's number of classes, so it must be the header's."""
    if b"objective" not in header:
        return ""
    objective = header[b"objective"].decode("ascii")
    name, _, rest = objective.partition(" ")
    classes = re.search(r"num_class:([0-9]+)", rest)
    if not _OBJECTIVE.fullmatch(objective):
        raise ValueError(f"the objective {objective[:60]!r} is malformed")
    if bool(classes) != (name in ("multiclass", "multiclassova")):
        raise ValueError(f"the objective {objective[:60]!r} does not fit its number of classes")
    if classes and int(classes[1]) != outputs:
        raise ValueError(f"{outputs} classes, but an objective of {classes[1]}")
    return objective


def _blocks(model: bytes, start: int, sizes: bytes) -> list[slice]:
    """Where each tree is; on the way, that each is where `tree_sizes` says."""
    lengths = integers(sizes)
    if not len(lengths) or (lengths <= 0).any() or lengths.sum() > len(model) - start:
        raise ValueError("tree_sizes do not add up")
    blocks = []
    for index, length in enumerate(lengths.tolist()):
        block = slice(start, start + length)
        if not model.startswith(b"Tree=%d\n" % index, start) or model[block.stop - 1] != _NEWLINE:
            raise ValueError(f"tree {index} is not where tree_sizes says")
        blocks.append(block)
        start += length
    if not model.startswith(b"end of trees\n", start):
        raise ValueError("the trees do not end where tree_sizes says")
    return blocks


def _trees(model: bytes, blocks: list[slice], features: int) -> Iterator[Tree]:
    for index, block in enumerate(blocks):
        try:
            yield read_tree(model[block], features)
        except (ValueError, KeyError) as error:
            raise ValueError(f"tree {index}: {error}") from None


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
