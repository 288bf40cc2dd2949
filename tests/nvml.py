"""A stand-in for NVIDIA's management library, at its seam: the module `pynvml`.

The machines that run these tests have no GPU, and no real library can be told how many cards it
has, how full they are, or when to fail. What stands on it (ledger, placing, CatBoost) is real.
"""

# ruff: noqa: N802 - the names are the library's

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import pynvml as real

MIB = 2**20


@dataclass
class FakeCard:
    """One card; `divided` has MIG on, `busy` of None tells no utilisation."""

    uuid: str
    free_mb: int = 8000
    total_mb: int = 8192
    busy: int | None = 0
    divided: bool = False
    name: str = "Simulated"


class FakeNvml(ModuleType):
    """The functions that are called, for `cards`; `failing` raises at the first of them."""

    NVMLError = real.NVMLError

    def __init__(self, cards: Sequence[FakeCard], failing: int | None = None) -> None:
        super().__init__("pynvml")
        self.cards = list(cards)
        self.failing = failing
        self.open = 0

    def nvmlInit(self) -> None:
        if self.failing is not None:
            raise real.NVMLError(self.failing)
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeCard:
        return self.cards[index]

    def nvmlDeviceGetUUID(self, card: FakeCard) -> bytes:
        return card.uuid.encode()

    def nvmlDeviceGetName(self, card: FakeCard) -> str:
        return card.name

    def nvmlDeviceGetMemoryInfo(self, card: FakeCard) -> Any:
        return SimpleNamespace(total=card.total_mb * MIB, free=card.free_mb * MIB)

    def nvmlDeviceGetUtilizationRates(self, card: FakeCard) -> Any:
        if card.busy is None:
            raise real.NVMLError(real.NVML_ERROR_NOT_SUPPORTED)
        return SimpleNamespace(gpu=card.busy)

    def nvmlDeviceGetMigMode(self, card: FakeCard) -> list[int]:
        if card.divided:
            return [1, 1]
        raise real.NVMLError(real.NVML_ERROR_NOT_SUPPORTED)


@contextmanager
def nvml_of(*cards: FakeCard, failing: int | None = None) -> Iterator[FakeNvml]:
    """This process has these cards for a while."""
    fake = FakeNvml(cards, failing)
    before = sys.modules["pynvml"]
    sys.modules["pynvml"] = fake
    try:
        yield fake
    finally:
        sys.modules["pynvml"] = before
