"""The small job as the job specifications start it, which stands still while a file names its kind.

`python -m tests.integration.heldjob --payload FILE`. HELDJOB_FOLDER is where `hold` says which kind
of job waits, and where each job that waits leaves its process id in `<kind>.pid`.
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
from registry.artifacts.store import Store
from tests.campaigns import smalljob

HOLD = "hold"


def holds(folder: Path, kind: str) -> bool:
    """Whether jobs of `kind` are to wait."""
    try:
        return (folder / HOLD).read_text() == kind
    except FileNotFoundError:
        return False


def _work(store: Store, attempt: Attempt, cache: Path, out: Path) -> Outcome:
    folder, kind = Path(os.environ["HELDJOB_FOLDER"]), attempt.spec.kind
    references: Mapping[str, Any] = attempt.spec.references
    inputs = {role: entry._fetched(store, value, cache) for role, value in references.items()}
    if holds(folder, kind):
        (folder / f"{kind}.new").write_text(f"{os.getpid()} {os.getppid()}")
        (folder / f"{kind}.new").replace(folder / f"{kind}.pid")
    while holds(folder, kind):
        time.sleep(0.05)
    return smalljob.work(inputs, entry._parameters(attempt), out)


if __name__ == "__main__":
    with patch.object(entry, "_work", _work):
        sys.exit(entry.main())
