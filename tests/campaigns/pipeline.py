"""A process that runs a whole pipeline of small jobs: what crash campaigns kill.

Everything of a round lies in its folder: the store, and `var` with heads, jobs and caches, which
all pipelines of the round share as those of one machine do.
"""

from __future__ import annotations

import datetime as dt
import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pipelines import Features, Ingest, Publish
from pipelines.run import run
from pipelines.runners.launch import Limits
from pipelines.runners.local import LocalRunner
from pipelines.runners.protocol import AttemptReference
from pipelines.runners.sizes import Capacity
from pipelines.session import Session
from pipelines.task import StepTask
from registry import crashpoints
from registry.aliases import Aliases, open_aliases
from registry.artifacts.attempt import Attempt
from registry.artifacts.store import open_environment
from registry.artifacts.store.protocol import Store
from registry.errors import PenstockError
from registry.settings import Settings
from tests.campaigns.smalljob import faulty
from tests.pipelines.small import DAY, NAME, a_usecase

ROOT = Path(__file__).resolve().parents[2]
ABOUT = (NAME, "champion")
WINDOW = 1
#: Artifacts below each root.
SIZES = {"ingest": 1, "features": 2, "publish": 6}


def settings_of(folder: Path) -> Settings:
    """The settings of every pipeline of a round."""
    return Settings.load(
        {
            "PENSTOCK_STORE": str(folder / "store"),
            "PENSTOCK_VAR": str(folder / "var"),
            "PENSTOCK_WHO": "campaign",
            "PENSTOCK_RETRIES": "2",
        }
    )


def store_of(folder: Path) -> Store:
    """The environment of a round."""
    return open_environment(settings_of(folder))


def aliases_of(folder: Path) -> Aliases:
    """The aliases of a round."""
    return open_aliases(settings_of(folder), store_of(folder))


def root_of(name: str, date: dt.date = DAY) -> StepTask:
    """The task that a round runs: one job, two, or six and a verdict."""
    about: dict[str, Any] = {"usecase": NAME, "date": date}
    kinds: dict[str, type[StepTask]] = {
        "ingest": Ingest, "features": Features, "publish": Publish,
    }  # fmt: skip
    return kinds[name](**about)


def command(attempt: Attempt, reference: AttemptReference) -> list[str]:
    """A small job in place of the real one."""
    del attempt
    root, key, digest = reference
    words = ["--root", root, "--attempt", key, "--digest", digest]
    return [sys.executable, "-m", "tests.campaigns.smalljob", *words]


def session_of(folder: Path) -> Session:
    """A pipeline of this process."""
    settings = settings_of(folder)
    store = faulty(store_of(folder), os.environ.get("SMALLJOB_FAULTS"))
    runner = LocalRunner(
        settings.var, Capacity(4, 4096), command=command, host="here", limits=Limits(grace_s=0.2)
    )
    return Session(settings, store=store, runner=runner)


def run_pipeline(env: Mapping[str, str], folder: Path, root: str) -> None:
    """What a process does; its exit code is that of the failure, 0 for none."""
    os.chdir(ROOT)
    # The commit is given, so that no job has to ask git.
    os.environ.update({"PENSTOCK_COMMIT": "0" * 40, "PENSTOCK_VAR": str(folder / "var"), **env})
    importlib.reload(crashpoints)  # It reads the environment when it is loaded.
    usecase = a_usecase(window_days=WINDOW, lookback_days=0, algorithms={"lightgbm": {"leaves": 3}})
    try:
        with patch("pipelines.task.load_usecase", lambda name: usecase):
            run(session_of(folder), [root_of(root)])
    except PenstockError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(error.exit_code)
