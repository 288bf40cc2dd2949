"""What earlier jobs needed, and the size that this makes sensible for the next.

The rule: of the jobs whose input was between half and twice as large as the next one's, the five
newest are believed. The size allows `HEADROOM` times their largest peak, and is none that was too
small for one of them. Where no input was alike, the nearest counts, and its peak grows with the
input where that is larger; it never shrinks. A job of which nobody recorded what it read is like
any other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipelines.runners.sizes import LADDER, SIZES, fitting_size

#: A size must allow this much more than the largest peak seen: days differ.
HEADROOM = 1.25
#: How many jobs are believed, the newest first.
BELIEVED = 5
#: How many times larger one of two inputs may be that are alike.
ALIKE = 2.0


@dataclass(frozen=True)
class Need:
    """One job: its peak in MiB, the bytes that it read, and the least size that was not too small.

    `input_bytes` is None where nobody recorded them, `least` where no attempt ran out of memory.
    """

    peak_mb: float
    input_bytes: float | None = None
    least: str | None = None


class History:
    """The needs of a kind of jobs, newest first; `needs` is read as far as questions go."""

    def __init__(self, needs: Iterable[Need]) -> None:
        self._left: Iterator[Need] = iter(needs)
        self._known: list[Need] = []

    def suggested(self, input_bytes: float | None) -> str | None:
        """The first size for a job that reads so much; None without any history."""
        alike = self._alike(input_bytes)
        if alike:
            return suggested(alike)
        if not self._known or input_bytes is None:
            return None
        return suggested([scaled(nearest(self._known, input_bytes), input_bytes)])

    def learn(self, need: Need) -> None:
        """Take in what a job of this process needed, as the newest."""
        self._known.insert(0, need)

    def _alike(self, input_bytes: float | None) -> list[Need]:
        found = [need for need in self._known if is_alike(need, input_bytes)]
        while len(found) < BELIEVED and (need := next(self._left, None)) is not None:
            self._known.append(need)
            if is_alike(need, input_bytes):
                found.append(need)
        return found[:BELIEVED]


def is_alike(need: Need, input_bytes: float | None) -> bool:
    """Whether a job that reads `input_bytes` may be taken to need what this one did."""
    if not need.input_bytes or not input_bytes:
        return True
    return 1 / ALIKE <= need.input_bytes / input_bytes <= ALIKE


def nearest(needs: Sequence[Need], input_bytes: float) -> Need:
    """The one whose input is nearest by its ratio; of equals the one that needed more."""

    def distance(need: Need) -> tuple[float, float]:
        return abs(math.log((need.input_bytes or input_bytes) / input_bytes)), -need.peak_mb

    return min(needs, key=distance)


def scaled(need: Need, input_bytes: float) -> Need:
    """What the job would have needed for a larger input, if its peak grows as the input does."""
    growth = max(1.0, input_bytes / (need.input_bytes or input_bytes))
    return Need(need.peak_mb * growth, input_bytes, need.least)


def suggested(needs: Sequence[Need]) -> str:
    """The smallest size with headroom over every peak that was too small for none of them."""
    size = fitting_size(HEADROOM * max(need.peak_mb for need in needs))
    for need in needs:
        size = larger(size, need.least or size)
    return size


def larger(one: str, other: str) -> str:
    """The larger of two sizes; the first where they cannot be compared."""
    if one not in LADDER or other not in LADDER:
        return one
    return max(one, other, key=lambda size: SIZES[size].memory_mb)
