"""Sizes of jobs, and whether one fits: s, m, l, xl, and gpu.

Resources are chosen by size and never per dispatch, because Nomad registers one job per size.
Threads and seeds are parameters of the recipe; a size changes where a job runs, never its result.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from registry.errors import UsageError


@dataclass(frozen=True, slots=True)
class Size:
    """What one job may take: processors, memory in MiB, and GPUs (which one machine lends freely)."""

    name: str
    cpus: int
    memory_mb: int
    gpus: int = 0


#: Smallest first: the order in which a job that ran out of memory climbs. Importing the numeric
#: libraries alone takes about 400 MiB of a job's own memory, so `s` starts above that.
SIZES: Mapping[str, Size] = MappingProxyType(
    {
        size.name: size
        for size in (
            Size("s", cpus=1, memory_mb=1024),
            Size("m", cpus=1, memory_mb=4096),
            Size("l", cpus=2, memory_mb=8192),
            Size("xl", cpus=4, memory_mb=16384),
            Size("gpu", cpus=4, memory_mb=16384, gpus=1),
        )
    }
)
#: The sizes that differ in how much they allow, smallest first: a GPU is no answer to too little
#: memory.
LADDER = tuple(name for name, size in SIZES.items() if not size.gpus)


def size_named(name: str) -> Size:
    """The size called `name`.

    Raises:
        UsageError: there is no such size; names those there are.
    """
    if name not in SIZES:
        raise UsageError(f"unknown size {name!r}", f"sizes are {', '.join(SIZES)}")
    return SIZES[name]


def next_size(name: str) -> str | None:
    """The next larger size than `name`, or None when there is none."""
    if size_named(name).gpus:
        return None
    place = LADDER.index(name) + 1
    return LADDER[place] if place < len(LADDER) else None


def fitting_size(memory_mb: float) -> str:
    """The smallest size that allows `memory_mb`, or the largest there is."""
    return next((name for name in LADDER if SIZES[name].memory_mb >= memory_mb), LADDER[-1])


@dataclass(frozen=True, slots=True)
class Capacity:
    """Processors and memory in MiB: what there is, or what is taken of it."""

    cpus: int
    memory_mb: int

    def plus(self, size: Size) -> Capacity:
        """This much and a job of `size` more."""
        return Capacity(self.cpus + size.cpus, self.memory_mb + size.memory_mb)

    def minus(self, size: Size) -> Capacity:
        """This much without a job of `size`."""
        return Capacity(self.cpus - size.cpus, self.memory_mb - size.memory_mb)

    def never_fits(self, size: Size) -> str:
        """Why a job of `size` can never run within this capacity; empty when it can."""
        if size.cpus <= self.cpus and size.memory_mb <= self.memory_mb:
            return ""
        return (
            f"size {size.name} needs {size.cpus} processors and {size.memory_mb} MiB; "
            f"there are {self.cpus} and {self.memory_mb} MiB in all"
        )

    def shortage(self, size: Size, used: Capacity) -> str:
        """Why a job of `size` does not fit beside `used`; empty when it does."""
        wanted = used.plus(size)
        if wanted.cpus <= self.cpus and wanted.memory_mb <= self.memory_mb:
            return ""
        return (
            f"waits for {size.cpus} processors and {size.memory_mb} MiB; "
            f"{used.cpus} of {self.cpus} and {used.memory_mb} of {self.memory_mb} MiB are taken"
        )


def machine_capacity() -> Capacity:
    """What this machine, or the container around this process, has in all."""
    return Capacity(_processors(), min(_physical_mb(), _container_mb()))


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _physical_mb() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20


def _container_mb(limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    try:
        return int(limit.read_text()) // 2**20
    except (OSError, ValueError):  # no such file, or the word "max": no limit of its own
        return _physical_mb()
