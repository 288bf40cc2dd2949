"""What `penstock doctor` tells about running jobs here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from registry.checks import Check
from registry.gpus import Card, Ledger, NoGpu, cards
from registry.settings import Settings


def check_machine(settings: Settings) -> Iterator[Check]:
    """What jobs may take of this machine, which sizes would never fit, and its GPUs."""
    yield from _check_sizes(settings)
    yield from _check_gpus(settings)


def _check_sizes(settings: Settings) -> Iterator[Check]:
    from pipelines.runners.sizes import SIZES, Capacity, machine_capacity

    whole = machine_capacity()
    given = Capacity(settings.local_cpus or whole.cpus, settings.local_memory_mb or whole.memory_mb)
    large = [name for name, size in SIZES.items() if given.never_fits(size)]
    found = f"jobs may take {given.cpus} processors and {given.memory_mb} MiB"
    if not large:
        yield Check("machine", "ok", f"{found}; every size fits")
    elif len(large) == len(SIZES):
        hint = "Raise PENSTOCK_LOCAL_CPUS and PENSTOCK_LOCAL_MEMORY_MB, or use a larger machine."
        yield Check("machine", "fail", f"{found}; no size of job fits", hint, 77)
    else:
        yield Check("machine", "ok", f"{found}; too large for it: {', '.join(large)}")


def _check_gpus(settings: Settings) -> Iterator[Check]:
    """Each card: how loaded it is, and who trains on it."""
    try:
        found = cards()
    except NoGpu as none:
        why = f"{none.what} ({none.why}): jobs of the size gpu train on the processors"
        yield Check("gpu", "ok", why)
        return
    ledger = Ledger(Path(settings.gpu_ledger))
    for card in found:
        yield _check_card(card, ledger.holder(card.uuid), settings.gpu_free_mb)


def _check_card(card: Card, holder: str | None, least_free_mb: int) -> Check:
    busy = "" if card.busy_percent is None else f", {card.busy_percent} % busy"
    state = f"held by {holder}" if holder else "free"
    told = f"{card}: {card.free_mb} of {card.total_mb} MiB free{busy}; {state}"
    if holder or card.free_mb >= least_free_mb:
        return Check("gpu", "ok", told)
    hint = f"Trainings need {least_free_mb} MiB (PENSTOCK_GPU_FREE_MB): end what else uses it."
    return Check("gpu", "warn", told, hint)
