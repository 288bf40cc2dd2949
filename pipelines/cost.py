"""What work cost: processors and memory, asked against used, from the records of attempts.

A job holds what its size asks for as long as it runs, whatever it uses of it. So the price is that
of what was asked: processors × wall time and memory × wall time. Used is the processor time that
the system counted, and the peak of memory × wall time, which is more than was used on average.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from pipelines.runners.sizes import SIZES
from registry.artifacts import layout
from registry.artifacts.catalog import Catalog
from registry.artifacts.journal import Tried

Grouping = Literal["run", "family", "day"]

#: What a runner measures of a job.
_MEASURED = frozenset({"peak_mb", "cpu_s", "wall_s"})
_HOUR = 3600.0
_GIB = 1024.0
_GROUPS: dict[Grouping, Callable[[Tried], str]] = {
    "run": lambda tried: tried.attempt.run,
    "family": lambda tried: tried.attempt.spec.recipe.family,
    "day": lambda tried: f"{dt.datetime.fromtimestamp(tried.attempt.created, dt.UTC):%Y-%m-%d}",
}


@dataclass(frozen=True)
class Prices:
    """In any one currency: of a processor for an hour, and of a GiB of memory for an hour."""

    cpu_hour: float = 0.0
    gib_hour: float = 0.0

    def of(self, cpu_s: float, mb_s: float) -> float:
        """The price of processor seconds and MiB·seconds."""
        return cpu_s / _HOUR * self.cpu_hour + mb_s / _GIB / _HOUR * self.gib_hour


@dataclass
class Bill:
    """The cost of a group of attempts: seconds, and MiB·seconds.

    `unmeasured` counts attempts of which nobody recorded what they used. `failed_s` is the wall
    time of attempts that made nothing.
    """

    group: str
    attempts: int = 0
    failed: int = 0
    unmeasured: int = 0
    wall_s: float = 0.0
    failed_s: float = 0.0
    cpu_asked_s: float = 0.0
    cpu_used_s: float = 0.0
    mb_s_asked: float = 0.0
    mb_s_used: float = 0.0
    price: float = 0.0

    def add(self, tried: Tried, used: dict[str, float] | None, prices: Prices) -> None:
        """Count one attempt and what it used, if that is known."""
        self.attempts += 1
        self.failed += tried.failed
        size = SIZES.get(tried.attempt.size)
        if used is None or size is None:
            self.unmeasured += 1
            return
        wall = used["wall_s"]
        asked = (size.cpus * wall, size.memory_mb * wall)
        self.wall_s += wall
        self.failed_s += wall if tried.failed else 0.0
        self.cpu_asked_s += asked[0]
        self.cpu_used_s += used["cpu_s"]
        self.mb_s_asked += asked[1]
        self.mb_s_used += used["peak_mb"] * wall
        self.price += prices.of(*asked)

    @property
    def cpu_share(self) -> float | None:
        """How much of the processors asked for was used, in percent."""
        return 100 * self.cpu_used_s / self.cpu_asked_s if self.cpu_asked_s else None

    @property
    def memory_share(self) -> float | None:
        """How much of the memory asked for the peaks reached, in percent."""
        return 100 * self.mb_s_used / self.mb_s_asked if self.mb_s_asked else None


def bills(
    catalog: Catalog, tries: Iterable[Tried], by: Grouping, prices: Prices
) -> tuple[list[Bill], Bill]:
    """A bill for each group, the newest run or day first, families by price; and their sum."""
    tries = list(tries)
    catalog.prefetch(_path(tried) for tried in tries if _is_told_by_manifest(tried))
    groups: dict[str, Bill] = {}
    total = Bill("all")
    for tried in tries:
        name = _GROUPS[by](tried)
        used = usage_of(catalog, tried)
        for bill in (groups.setdefault(name, Bill(name)), total):
            bill.add(tried, used, prices)
    if by == "family":
        return sorted(groups.values(), key=lambda bill: -bill.wall_s), total
    return sorted(groups.values(), key=lambda bill: bill.group, reverse=True), total


def usage_of(catalog: Catalog, tried: Tried) -> dict[str, float] | None:
    """peak_mb, cpu_s and wall_s of an attempt: as the runner measured it, else as the job did."""
    if tried.end is not None and tried.end.usage.keys() >= _MEASURED:
        return tried.end.usage
    if not _is_told_by_manifest(tried):
        return None
    manifest = catalog.at(_path(tried))
    used = manifest.resources if manifest else {}
    if not {"peak_rss_mb", "cpu_s", "wall_s"} <= used.keys():
        return None
    return {"peak_mb": used["peak_rss_mb"], "cpu_s": used["cpu_s"], "wall_s": used["wall_s"]}


def _is_told_by_manifest(tried: Tried) -> bool:
    """Whether the job alone can say what it used: it committed, and no runner measured it."""
    end = tried.end
    return end is not None and not tried.failed and not end.usage.keys() >= _MEASURED


def _path(tried: Tried) -> str:
    return layout.manifest_path(tried.attempt.spec.recipe.recipe())
