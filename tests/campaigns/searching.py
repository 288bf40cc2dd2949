"""A process that runs a search by halving with jobs of its own: what the kill tests kill."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pipelines.run import run
from pipelines.runners.launch import Limits
from pipelines.runners.local import LocalRunner
from pipelines.runners.protocol import AttemptReference
from pipelines.runners.sizes import Capacity
from pipelines.search import Search
from pipelines.session import Session
from registry.artifacts.attempt import Attempt
from registry.artifacts.fetch import read_manifest
from registry.artifacts.manifest import Manifest
from tests.campaigns.pipeline import ROOT, settings_of, store_of
from tests.pipelines.small import DAY, NAME, a_usecase

#: Seven trials and what is set; four of them go on, then two.
PLAN = {"space": {"depth": [2, 3, 4, 5, 6, 7, 8]}, "halving": {"eta": 2, "rungs": 3}}
#: Evaluations of the rungs; what is set is one more on the last where it is not among the best.
RUNGS = (8, 4, 3)


def command(attempt: Attempt, reference: AttemptReference) -> list[str]:
    """A small job in place of the real one."""
    del attempt
    root, key, digest = reference
    words = ["--root", root, "--attempt", key, "--digest", digest]
    return [sys.executable, "-m", "tests.campaigns.trialjob", *words]


def search() -> Search:
    """The task that is run."""
    about: dict[str, Any] = {"usecase": NAME, "date": DAY, "algorithm": "lightgbm", "plan": PLAN}
    return Search(**about)


def run_search(folder: Path) -> None:
    """What a process does: make the search and all that it needs below `folder`."""
    os.chdir(ROOT)
    os.environ.update({"PENSTOCK_COMMIT": "0" * 40, "PENSTOCK_VAR": str(folder / "var")})
    algorithms = {"lightgbm": {"num_iterations": 40}}
    usecase = a_usecase(window_days=1, lookback_days=0, algorithms=algorithms)
    settings = settings_of(folder)
    runner = LocalRunner(
        settings.var, Capacity(4, 4096), command=command, host="here", limits=Limits(grace_s=0.2)
    )
    with patch("pipelines.task.load_usecase", lambda name: usecase):
        run(Session(settings, runner=runner), [search()])


def manifests(folder: Path, family: str) -> list[Manifest]:
    """What was committed of a family."""
    store = store_of(folder)
    return [read_manifest(store, path) for path in store.list(f"manifests/{family}/")]
