"""On what CatBoost trains: a GPU that this process has for itself, or the processors.

A job of the size `gpu` looks for a card; others never do, so that their bytes stay the same on
machines that have one. Which device it was is a fact of the environment, like the host: told in the
manifest, no part of the recipe (docs/decisions/0027-gpus.md). The entry point opens the device and
reads what was used; it is no argument of the steps, whose result it must not be taken to decide.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from registry.artifacts.attempt import Attempt
from registry.errors import ConfigError
from registry.gpus import SIZE, Lease, NoGpu, Placing, place
from registry.settings import Settings


@dataclass
class Device:
    """Where a job may look for a card, and then what it used: a card, or "processor" and why.

    `resources` are numbers for the manifest: MiB free on the card at the start, seconds of waiting.
    """

    placing: Placing | None = None
    used: str = ""
    resources: dict[str, float] = field(default_factory=dict)


_device: ContextVar[Device | None] = ContextVar("device", default=None)


@contextmanager
def device_of(attempt: Attempt, settings: Settings) -> Iterator[Device]:
    """The device of the job of `attempt`, which `trained` finds."""
    gpu = attempt.size == SIZE
    device = Device(Placing.of(settings, attempt.step or attempt.kind) if gpu else None)
    token = _device.set(device)
    try:
        yield device
    finally:
        _device.reset(token)


def trained(settings: dict[str, Any], fit: Callable[[Any], Any]) -> Any:
    """A CatBoost model of these settings after `fit`: on a GPU if the job asked and one is free.

    Raises:
        CatBoostError, TypeError, ValueError: the library refuses.
    """
    import catboost

    device = _device.get()
    if device is None or device.placing is None:
        return _fitted(settings, fit)
    try:
        with place(device.placing) as lease:
            return _on_gpu(device, lease, settings, fit)
    except (NoGpu, ConfigError) as reason:
        _fall_back(device, f"{reason.what}: {reason.why}")
    except catboost.CatBoostError as error:
        # What is wrong with the hyperparameters the processors will say again.
        _fall_back(device, f"CatBoost refuses the GPU: {str(error).splitlines()[0][:200]}")
    return _fitted(settings, fit)


def _on_gpu(
    device: Device, lease: Lease, settings: dict[str, Any], fit: Callable[[Any], Any]
) -> Any:
    # By UUID, before CUDA starts in this process: it counts cards in an order of its own.
    os.environ["CUDA_VISIBLE_DEVICES"] = lease.card.uuid
    model = _fitted(settings | {"task_type": "GPU", "devices": "0"}, fit)
    device.used = str(lease.card)
    device.resources = {"gpu_free_mb": lease.card.free_mb, "gpu_wait_s": lease.waited}
    _say(f"trained on {device.used}")
    return model


def _fitted(settings: dict[str, Any], fit: Callable[[Any], Any]) -> Any:
    import catboost

    model = catboost.CatBoost(settings)
    fit(model)
    return model


def _fall_back(device: Device, why: str) -> None:
    device.used = f"processor ({why})"
    _say(f"training on the processors: {why}")


def _say(line: str) -> None:
    """A line of the job's log."""
    sys.stderr.write(f"device: {line}\n")
