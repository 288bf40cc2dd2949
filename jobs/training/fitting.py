"""What an algorithm is asked to learn, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.training.window import Window
from jobs.window import Labels
from registry.errors import BadData
from registry.models.bundle import Flavor, Link
from registry.models.own import Own
from registry.models.signature import Signature


@dataclass(frozen=True)
class Stopping:
    """Early stopping: after `rounds` iterations without a lower loss on `held`, days not learnt from."""

    held: Window
    rounds: int


@dataclass(frozen=True)
class Continued:
    """Warm start: `iterations` more are put after those of the model file `parent`."""

    parent: bytes
    iterations: int


@dataclass(frozen=True)
class Fitting:
    """Learn the labels of `window` with the hyperparameters `model`.

    `weights` are those of rows labelled 0 and 1. `cache` is a folder for binned rows, or None.
    """

    signature: Signature
    window: Window
    model: Mapping[str, Any]
    seed: int
    threads: int
    weights: tuple[float, float] | None = None
    stopping: Stopping | None = None
    continued: Continued | None = None
    cache: Path | None = None

    def weigh(self, labels: Labels) -> NDArray[np.float32] | None:
        """The weight of each row, or None where all count alike."""
        if self.weights is None:
            return None
        return np.array(self.weights, dtype=np.float32)[labels.astype(np.int64)]


@dataclass(frozen=True)
class Trained:
    """A model file, what a bundle must say of it, and how many iterations it has."""

    flavor: Flavor
    model: bytes
    link: Link | None = None
    own: Own | None = None
    iterations: int | None = None


def check_own(model: Mapping[str, Any], own: set[str]) -> None:
    """Raise BadData for a hyperparameter that penstock sets itself."""
    taken = sorted(own & model.keys())
    if taken:
        raise BadData(
            f"{', '.join(taken)} cannot be a hyperparameter",
            "penstock sets it, or every model here has it alike",
            "Remove it; seed, threads and training are settings of the use case.",
        )
