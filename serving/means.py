"""The means: what the deployments of one service share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from serving.budget import Budget
from serving.candidate import Fetch
from serving.decisions import GoBack
from serving.fronts import Fronts
from serving.generation import Generation
from serving.options import Options
from serving.pointer import Pointers
from serving.pool import Pool

#: Makes the pool of a generation; the text is the folder of the bundle that is live, or empty.
MakePool = Callable[[Generation, str], Pool]


@dataclass(frozen=True)
class Means:
    """What it takes to bring a model up and to let it go."""

    fetch: Fetch
    make_pool: MakePool
    front: Fronts
    pointers: Pointers
    options: Options
    #: Numbers of generations.
    numbers: Iterator[int]
    budget: Budget
    go_back: GoBack
