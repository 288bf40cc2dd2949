"""The real entry point of jobs around work of no weight: `python -m tests.campaigns.smalljob …`.

SMALLJOB_PAUSE is how many seconds the work takes, SMALLJOB_FAULTS how writes to the store fail
(see `faulty`).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jobs.__main__ as entry
from jobs.outcome import Outcome
from registry.artifacts.attempt import Attempt
from registry.artifacts.store import Store, open_store
from tests.faults import FaultyStore, Schedule

ALWAYS = 10_000


def faulty(store: Store, faults: str | None) -> Store:
    """`store` with faults: `lost` or `exists` at every write, or `mixed:SEED`."""
    if not faults:
        return store
    kind, _, seed = faults.partition(":")
    if kind == "mixed":
        return FaultyStore(store, Schedule(rate=0.4, seed=seed))
    return FaultyStore(store, Schedule(*[kind] * ALWAYS))


def work(inputs: Mapping[str, Any], parameters: Mapping[str, Any], out: Path) -> Outcome:
    """Two files that say what they were made from."""
    time.sleep(float(os.environ.get("SMALLJOB_PAUSE", "0")))
    names = sorted(f"{role} {path}" for role, value in inputs.items() for path in _names(value))
    (out / "made.txt").write_text("\n".join([str(sorted(parameters.items())), *names]) + "\n")
    (out / "nested").mkdir()
    (out / "nested" / "more.txt").write_text("a second file\n" * 1000)
    base = {"auc": 0.8, "base_auc": 0.5, "base_log_loss": 0.6, "log_loss": 0.5}
    return Outcome(base, rows=1)


def _names(value: Any) -> list[str]:
    paths = [value] if isinstance(value, Path) else value
    return [(path / "made.txt").read_text().partition("\n")[0] for path in paths]


def _open(root: str) -> Store:
    return faulty(open_store(root), os.environ.get("SMALLJOB_FAULTS"))


def _work(store: Store, attempt: Attempt, cache: Path, out: Path) -> Outcome:
    references = attempt.spec.references.items()
    inputs = {role: entry._fetched(store, value, cache) for role, value in references}
    return work(inputs, entry._parameters(attempt), out)


if __name__ == "__main__":
    with patch.object(entry, "open_store", _open), patch.object(entry, "_work", _work):
        sys.exit(entry.main())
