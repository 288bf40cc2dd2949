"""What `penstock doctor` tells about running jobs here."""

from __future__ import annotations

from collections.abc import Iterator

from registry.checks import Check
from registry.settings import Settings


def check_machine(settings: Settings) -> Iterator[Check]:
    """What jobs may take of this machine, and which sizes would never fit."""
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
