"""The rungs of a search by successive halving: how long the models of each are trained.

The budget is boosting rounds. The data stays whole, so that a score means the same on every rung,
the last rung are ordinary models that others find again, and no job has to know of rungs. See
docs/decisions/0026-successive-halving.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.errors import UsageError

ETA = 3
#: The first rung is not shorter than this share of a training: fewer rounds would rank nothing.
LEAST_SHARE = 1 / 32
#: Names for the number of rounds, the library's main one first, and how many it takes untold.
_ROUNDS: Mapping[str, tuple[tuple[str, ...], int]] = {
    "lightgbm": (
        ("num_iterations", "num_iteration", "n_iter", "num_tree", "num_trees", "num_round",
         "num_rounds", "nrounds", "num_boost_round", "n_estimators", "max_iter"),
        100,
    ),
    "catboost": (("iterations", "num_boost_round", "n_estimators", "num_trees"), 1000),
}  # fmt: skip


@dataclass(frozen=True)
class Halving:
    """How a search halves: the best 1/`eta` of a rung goes on; the last of `rungs` is whole."""

    eta: int
    rungs: int

    @classmethod
    def of(cls, plan: Mapping[str, Any], trials: int) -> Halving | None:
        """What the plan of a search of so many trials asks for; None for whole trainings only.

        Raises:
            UsageError: `halving` is malformed.
        """
        asked = plan.get("halving")
        if not asked:
            return None
        if not isinstance(asked, Mapping) or not asked.keys() <= {"eta", "rungs"}:
            raise _malformed(asked)
        eta = asked.get("eta", ETA)
        if not isinstance(eta, int) or eta < 2:
            raise _malformed(asked)
        rungs = asked.get("rungs") or usual_rungs(trials, eta)
        if not isinstance(rungs, int) or rungs < 1:
            raise _malformed(asked)
        return cls(eta, rungs)

    def divisor(self, rung: int) -> int:
        """A rung (from 0) trains for one part in so many of the rounds."""
        return int(self.eta ** (self.rungs - 1 - rung))

    def rounds(self, algorithm: str, model: Mapping[str, Any], rung: int) -> tuple[str, int]:
        """The name and number of the rounds that a training of `model` has on a rung.

        Raises:
            UsageError: the algorithm has no rounds, or too few for so many rungs.
        """
        name, whole = rounds_of(algorithm, model)
        if whole < self.divisor(0):
            raise UsageError(
                f"{whole} rounds of {algorithm} cannot be cut into {self.rungs} rungs",
                f"the first would be one part in {self.divisor(0)}",
                "Ask for fewer --rungs, or more rounds.",
            )
        divisor = self.divisor(rung)
        return name, (whole + divisor // 2) // divisor

    def budget(self, algorithm: str, model: Mapping[str, Any], rung: int) -> dict[str, int]:
        """The change that makes a training of `model` one of the rung; none on the last.

        Raises:
            UsageError: as `rounds` does.
        """
        name, rounds = self.rounds(algorithm, model, rung)
        return {name: rounds} if self.divisor(rung) > 1 else {}


def usual_rungs(trials: int, eta: int) -> int:
    """As many rungs as leave one trial for the last, and the first one `LEAST_SHARE`."""
    rungs = 1
    while eta**rungs <= min(trials, 1 / LEAST_SHARE):
        rungs += 1
    return rungs


def rounds_of(algorithm: str, model: Mapping[str, Any]) -> tuple[str, int]:
    """The name and number of a model's boosting rounds.

    Raises:
        UsageError: the algorithm does not boost, or the number is none.
    """
    if algorithm not in _ROUNDS:
        raise UsageError(
            f"{algorithm} cannot be searched by halving",
            f"its budget is boosting rounds, which only {' and '.join(_ROUNDS)} have",
            "Search the whole grid, or draw: --random 20.",
        )
    names, untold = _ROUNDS[algorithm]
    name = next((name for name in names if name in model), names[0])
    number = model.get(name, untold)
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise UsageError(f"{name} is {number!r}", "rounds are a whole number from 1 on")
    return name, number


def shares(halving: Halving) -> list[str]:
    """What part of the rounds each rung trains for, for people: "1/9", "1/3", "1"."""
    divisors = [halving.divisor(rung) for rung in range(halving.rungs)]
    return [f"1/{divisor}" if divisor > 1 else "1" for divisor in divisors]


def work_share(members: Sequence[int], halving: Halving) -> float:
    """What part of the rounds of whole trainings of all trials the rungs take together."""
    spent = sum(count / halving.divisor(rung) for rung, count in enumerate(members))
    return spent / members[0]


def _malformed(asked: Any) -> UsageError:
    return UsageError(
        f"halving is {asked!r}",
        "it holds eta, a whole number from 2 on, and rungs, one from 1 on, or neither",
        'For example {"eta": 3}.',
    )
