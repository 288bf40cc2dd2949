"""The cards of this machine, as NVIDIA's management library sees them.

NVML makes no CUDA context and takes no memory of a card. It knows nothing of CUDA_VISIBLE_DEVICES,
and counts cards in another order than CUDA may; so a card is known by its UUID everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from registry.errors import PenstockError

_MIB = 2**20
#: What says which cards a process may use: the second is set by Nomad's plugin and for containers.
_VISIBLE = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")


class NoGpu(PenstockError):
    """No card can be used, and why; training goes on without one."""

    kind = "no-gpu"


@dataclass(frozen=True)
class Card:
    """One card: memory in MiB, and how busy it was lately in percent, where it tells."""

    uuid: str
    name: str
    total_mb: int
    free_mb: int
    busy_percent: int | None = None

    @property
    def load(self) -> tuple[int, int, str]:
        """Sorts the least loaded first: most free memory by the GiB, then least busy."""
        return -(self.free_mb // 1024), self.busy_percent or 0, self.uuid

    def __str__(self) -> str:
        return f"{self.name} {self.uuid}"


def cards(env: Mapping[str, str] | None = None) -> list[Card]:
    """The cards that this process may use, in NVML's order.

    A card that is divided into instances (MIG) is left out.

    Raises:
        NoGpu: there is no driver, it does not answer, or no card may be used.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise NoGpu("there is no GPU", f"NVML: {error}") from None
    try:
        handles = list(_handles(pynvml, os.environ if env is None else env))
        found = [_card(pynvml, handle) for handle in handles]
    except pynvml.NVMLError as error:
        raise NoGpu("the GPUs cannot be read", f"NVML: {error}") from None
    finally:
        pynvml.nvmlShutdown()
    if not found:
        raise NoGpu("there is no GPU to be used", _why_none(os.environ if env is None else env))
    return found


def _handles(nvml: Any, env: Mapping[str, str]) -> Iterator[Any]:
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        uuid = _text(nvml.nvmlDeviceGetUUID(handle))
        if is_visible(index, uuid, env) and not _is_divided(nvml, handle):
            yield handle


def is_visible(index: int, uuid: str, env: Mapping[str, str]) -> bool:
    """Whether both variables allow a card; a number in them counts in the order of the bus."""
    return all(_allows(env[name], index, uuid) for name in _VISIBLE if name in env)


def _allows(value: str, index: int, uuid: str) -> bool:
    words = [word.strip() for word in value.split(",")]
    if words == ["all"]:
        return True
    return any(
        word == str(index) or (word[:1].isalpha() and uuid.startswith(word)) for word in words
    )


def _is_divided(nvml: Any, handle: Any) -> bool:
    try:
        return bool(nvml.nvmlDeviceGetMigMode(handle)[0])
    except nvml.NVMLError:  # a card that knows no instances
        return False


def _card(nvml: Any, handle: Any) -> Card:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return Card(
        _text(nvml.nvmlDeviceGetUUID(handle)),
        _text(nvml.nvmlDeviceGetName(handle)),
        memory.total // _MIB,
        memory.free // _MIB,
        _busy(nvml, handle),
    )


def _busy(nvml: Any, handle: Any) -> int | None:
    try:
        return int(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except nvml.NVMLError:  # not every card counts it
        return None


def _text(value: str | bytes) -> str:
    """Old releases of the binding return bytes."""
    return value.decode() if isinstance(value, bytes) else value


def _why_none(env: Mapping[str, str]) -> str:
    given = [f"{name}={env[name]}" for name in _VISIBLE if name in env]
    return f"none is allowed by {' and '.join(given)}" if given else "none that is not divided"
