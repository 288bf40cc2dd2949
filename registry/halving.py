"""Successive halving: who goes on to the next rung, as the pipeline and the job both reckon it.

Every trial begins with a small budget; the best share 1/eta of a rung goes on with eta times as
much. After Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
optimization", AISTATS 2016 (arXiv 1502.07943); the form with eta is that of Li et al., "Hyperband",
JMLR 18 (2018), algorithm 1, `SuccessiveHalving`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

#: The trial of what is set. It takes part like the others, and is on the last rung in any case, so
#: that what is found there can be compared with it.
OWN = 0
#: What the inputs of later rungs begin with; see `role`.
LATER = "rung"


def role(rung: int) -> str:
    """The input of a search in which the evaluations of a rung lie, counted from 0."""
    return f"{LATER}{rung}" if rung else "trials"


def score(parts: Iterable[tuple[float, int]]) -> float:
    """The mean of log losses over days, each (log loss, rows) weighted by its rows; lower is better.

    A loss that is not finite, or no rows at all, gives infinity.
    """
    found = list(parts)
    rows = sum(count for _, count in found)
    total = math.fsum(loss * count for loss, count in found)
    return total / rows if rows and math.isfinite(total) else math.inf


def sizes(trials: int, eta: int, rungs: int) -> list[int]:
    """How many trials compete on each rung: `trials`, then 1/eta of the rung before, at least 1."""
    found = [trials]
    while len(found) < rungs:
        found.append(max(1, found[-1] // eta))
    return found


def survivors(members: Sequence[int], scores: Sequence[float], eta: int) -> list[int]:
    """The best 1/eta of `members` by their scores, at least one, in the order of their numbers.

    Of equal scores the lower number is the better: what is set, then what was drawn first. A score
    that is no number counts as infinite.
    """
    ranked = sorted(
        zip(scores, members, strict=True),
        key=lambda pair: (math.inf if math.isnan(pair[0]) else pair[0], pair[1]),
    )
    return sorted(member for _, member in ranked[: max(1, len(ranked) // eta)])


def members_of_last(chosen: Sequence[int]) -> list[int]:
    """Who is evaluated on the last rung: who came through, and what is set, for comparison."""
    return sorted({OWN, *chosen})
