"""What a use case may ask of training besides hyperparameters. Light: the pipeline imports it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from registry.errors import BadData

#: The algorithms that have these options.
ALGORITHMS = ("lightgbm", "catboost")


@dataclass(frozen=True)
class EarlyStopping:
    """Stop after `rounds` iterations without a lower log loss on the last `days` of the window.

    The model does not learn from those days, and keeps the iterations up to the best.
    """

    rounds: int
    days: int = 1

    def __post_init__(self) -> None:
        _check_whole("early_stopping", rounds=self.rounds, days=self.days)


@dataclass(frozen=True)
class WarmStart:
    """Put `iterations` after those of the champion, until there would be more than `most`.

    The parent is the champion that is live when a run first comes to the date, if it is of an
    earlier date, of the same algorithm and of the same versions of `features` and `train`.
    Where there is none a model is trained from the start.
    """

    iterations: int
    most: int = 1_000

    def __post_init__(self) -> None:
        _check_whole("warm_start", iterations=self.iterations, most=self.most)


@dataclass(frozen=True)
class Training:
    """Options of LightGBM and CatBoost; none unless they are given.

    `class_weights` are those of a false and of a true label, or "balanced": both classes count
    alike. Probabilities then no longer are those of the data.
    """

    early_stopping: EarlyStopping | None = None
    class_weights: Literal["balanced"] | tuple[float, float] | None = None
    warm_start: WarmStart | None = None

    def __post_init__(self) -> None:
        if not _are_weights(self.class_weights):
            shown = repr(self.class_weights)
            raise _off("class_weights", shown, 'two numbers above 0, or "balanced"')

    def parameters(self, *, warm: bool) -> dict[str, Any]:
        """The significant parameters of a step; `warm`: there is a parent to go on from."""
        early, start = self.early_stopping, self.warm_start
        weights = self.class_weights
        return {
            **({"early_stopping": {"rounds": early.rounds, "days": early.days}} if early else {}),
            **({"class_weights": list(weights) if isinstance(weights, tuple) else weights} if weights else {}),
            **({"warm_start": {"iterations": start.iterations}} if start and warm else {}),
        }  # fmt: skip


def _are_weights(found: Any) -> bool:
    if not isinstance(found, tuple):
        return found in (None, "balanced")
    return len(found) == 2 and all(isinstance(each, int | float) and each > 0 for each in found)


def _check_whole(option: str, **values: Any) -> None:
    for name, value in values.items():
        if not isinstance(value, int) or value < 1:
            raise _off(f"{option}: {name}", repr(value), "a whole number above 0")


def _off(what: str, value: str, expected: str) -> BadData:
    return BadData(
        f"{what} is {value}", f"expected {expected}", "Correct `training` in the settings."
    )
