"""LightGBM models drawn at random, as text, and hostile rows for them.

Written directly instead of trained: a thousand times faster, and it reaches what training seldom
does, such as missing types that differ within a feature, sets of one category or chains of nodes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from registry.models.signature import Matrix

OBJECTIVES = (
    ("regression", 1), ("regression sqrt", 1), ("regression_l1", 1), ("regression_l1 sqrt", 1),
    ("huber", 1), ("fair", 1), ("quantile", 1), ("mape", 1), ("poisson", 1), ("gamma", 1),
    ("tweedie", 1), ("binary sigmoid:1", 1), ("binary sigmoid:0.7", 1), ("lambdarank", 1),
    ("rank_xendcg", 1), ("cross_entropy", 1), ("cross_entropy_lambda", 1),
    ("multiclass num_class:3", 3), ("multiclassova num_class:2 sigmoid:1.5", 2), ("", 1), ("", 2),
)  # fmt: skip
TINY = float(np.float32(1e-35))
NUMBERS = (0.0, -0.0, TINY, -TINY, np.nextafter(TINY, 1), np.nextafter(-TINY, -1), 1e-40, -1e-40,
           5e-324, 1e-30, 1.0, -1.0, 0.1, 1e300, -1e300, math.inf, -math.inf, math.nan)  # fmt: skip
CODES = (0, 1, 2, 31, 32, 33, 63, 64, 95, 96, 1000, -1, -0.5, 0.5, -7, 31.9, 2**31, 2**31 - 1, -(2**31),
         2.0**32, 1e300, math.nan, math.inf, -math.inf, -0.0, TINY)  # fmt: skip


@dataclass
class Drawn:
    """A model: its text, its number of features and, of each, the values worth asking for."""

    text: bytes
    features: int
    outputs: int
    values: list[list[float]]

    def rows(self, rng: random.Random, count: int) -> Matrix:
        """Hostile rows: thresholds hit exactly or missed by one step, and the values above."""
        columns = [[rng.choice(values) for _ in range(count)] for values in self.values]
        return np.array(columns, dtype=np.float64).T.copy()


@dataclass
class Plan:
    """What a drawn model may hold."""

    features: int = 4
    iterations: int = 3
    leaves: tuple[int, ...] = (1, 2, 3, 8, 9, 20)
    objective: tuple[str, int] = ("regression", 1)
    averaged: bool = False
    categorical: float = 0.3
    linear: bool = False
    chain: float = 0.1
    distinct: int = 6
    decisions: Sequence[int] = field(default_factory=lambda: range(0, 16, 2))


#: What Hypothesis and the campaigns choose from; small, so that thousands are played in a minute.
CHOICES: dict[str, Sequence[Any]] = {
    "features": (1, 2, 5, 40),
    "iterations": (1, 1, 2, 5),
    "leaves": ((1,), (2,), (1, 2, 3), (8, 9, 17), (63, 64, 65), (2, 130), (7, 300)),
    "objective": OBJECTIVES,
    "averaged": (False, False, False, True),
    "categorical": (0.0, 0.0, 0.3, 1.0),
    "linear": (False, False, False, True),
    "chain": (0.0, 0.0, 0.5, 1.0),
    "distinct": (1, 6, 300),
    "decisions": (range(0, 16, 2), (2, 8, 10), (0,), (4, 6), (8,)),
}


def draw_plan(rng: random.Random, **fixed: Any) -> Plan:
    """A plan at random."""
    return Plan(**{**{name: rng.choice(among) for name, among in CHOICES.items()}, **fixed})


def draw_model(rng: random.Random, plan: Plan) -> Drawn:
    """A model of `plan`."""
    is_code = [rng.random() < plan.categorical for _ in range(plan.features)]
    many = [plan.distinct if n < 2 else min(plan.distinct, 6) for n in range(plan.features)]
    numbers = [[_number(rng) for _ in range(count)] for count in many]
    objective, outputs = plan.objective
    count = plan.iterations * outputs
    trees = [_tree(rng, plan, n, is_code, numbers) for n in range(count)]
    values = [
        list(CODES) if code else [*NUMBERS, *(near for t in pool[:40] for near in _around(t))]
        for code, pool in zip(is_code, numbers, strict=True)
    ]
    text = _header(plan, outputs, objective, [len(tree) for tree in trees]) + "".join(trees)
    text += "end of trees\n\nfeature_importances:\n\nparameters:\n[boosting: gbdt]\n"
    text += "end of parameters\n\npandas_categorical:null\n"
    return Drawn(text.encode(), plan.features, outputs, values)


def _header(plan: Plan, outputs: int, objective: str, sizes: list[int]) -> str:
    lines = ["tree", "version=v4", f"num_class={outputs}", f"num_tree_per_iteration={outputs}",
             "label_index=0", f"max_feature_idx={plan.features - 1}"]  # fmt: skip
    lines += [f"objective={objective}"] if objective else []
    lines += ["average_output"] if plan.averaged else []
    lines += ["feature_names=" + " ".join(f"x{n}" for n in range(plan.features)),
              "feature_infos=" + " ".join(["none"] * plan.features),
              "tree_sizes=" + " ".join(map(str, sizes)), "", ""]  # fmt: skip
    return "\n".join(lines)


def _tree(
    rng: random.Random, plan: Plan, number: int, is_code: list[bool], pools: list[list[float]]
) -> str:
    leaves = rng.choice(plan.leaves)
    left, right = _grow(rng, leaves, plan.chain)
    feature = [rng.randrange(plan.features) for _ in range(leaves - 1)]
    threshold, decision, bounds, words = [], [], [0], []
    for each in feature:
        if is_code[each]:
            threshold.append(str(len(bounds) - 1))
            words += [rng.getrandbits(32) for _ in range(rng.choice((1, 1, 2, 3)))]
            bounds.append(len(words))
            decision.append(1 | (8 if rng.random() < 0.5 else 0))
        else:
            threshold.append(repr(rng.choice(pools[each])))
            decision.append(rng.choice(plan.decisions))
    value = [_leaf(rng) for _ in range(leaves)]
    lines = [f"Tree={number}", f"num_leaves={leaves}", f"num_cat={len(bounds) - 1}",
             f"split_feature={_join(feature)}", f"split_gain={_join([1] * (leaves - 1))}",
             f"threshold={' '.join(threshold)}", f"decision_type={_join(decision)}",
             f"left_child={_join(left)}", f"right_child={_join(right)}",
             f"leaf_value={_join(value)}", f"leaf_weight={_join([1] * leaves)}",
             f"leaf_count={_join([1] * leaves)}", f"internal_value={_join([0] * (leaves - 1))}",
             f"internal_weight={_join([0] * (leaves - 1))}",
             f"internal_count={_join([2] * (leaves - 1))}"]  # fmt: skip
    if len(bounds) > 1:
        lines += [f"cat_boundaries={_join(bounds)}", f"cat_threshold={_join(words)}"]
    lines.append(f"is_linear={int(plan.linear)}")
    lines += _linear(rng, plan, leaves) if plan.linear else []
    return "\n".join([*lines, "shrinkage=1", "", "", ""])


def _linear(rng: random.Random, plan: Plan, leaves: int) -> list[str]:
    counts = [rng.randrange(min(3, plan.features) + 1) for _ in range(leaves)]
    used = [rng.sample(range(plan.features), count) for count in counts]
    return [f"leaf_const={_join([_leaf(rng) for _ in range(leaves)])}",
            f"num_features={_join(counts)}",
            "leaf_features=" + "".join(f"{_join(each)} " for each in used),
            "leaf_coeff=" + "".join(f"{_join([_leaf(rng) for _ in each])} " for each in used)]  # fmt: skip


def _grow(rng: random.Random, leaves: int, chain: float) -> tuple[list[int], list[int]]:
    """Children as LightGBM numbers them: a split turns leaf n into a node with leaves n and new."""
    left, right = [0] * (leaves - 1), [0] * (leaves - 1)
    place: list[tuple[list[int], int] | None] = [None] * leaves
    last = 0
    for node in range(leaves - 1):
        leaf = last if rng.random() < chain else rng.randrange(node + 1)
        above = place[leaf]
        if above:
            above[0][above[1]] = node
        left[node], right[node] = ~leaf, ~(node + 1)
        place[leaf], place[node + 1] = (left, node), (right, node)
        last = rng.choice((leaf, node + 1))
    return left, right


def _number(rng: random.Random) -> float:
    kind = rng.random()
    if kind < 0.1:
        return rng.choice((TINY, -TINY, 1e300, -1e300, 0.0, 5e-324, math.inf, -math.inf))
    return rng.choice(
        (rng.gauss(0, 1), float(rng.randrange(-3, 4)), float(np.float32(rng.gauss(0, 1))))
    )


def _leaf(rng: random.Random) -> float:
    return rng.choice((rng.gauss(0, 0.3), rng.gauss(0, 0.3), 0.0, -0.0, 1e-9, 3.0))


def _around(number: float) -> tuple[float, float, float]:
    return (number, float(np.nextafter(number, -math.inf)), float(np.nextafter(number, math.inf)))


def _join(values: Sequence[float]) -> str:
    return " ".join(repr(value) for value in values)
