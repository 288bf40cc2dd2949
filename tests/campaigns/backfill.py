"""A process that runs a backfill of small jobs within itself: what tests kill half way."""

from __future__ import annotations

import datetime as dt
import importlib
import os
from collections.abc import Mapping
from pathlib import Path

import pipelines.task
from pipelines.backfill import order_of, roots_between
from pipelines.run import run
from pipelines.runners.stub import StubRunner
from pipelines.session import Session
from registry import crashpoints
from registry.artifacts.fetch import read_manifest
from tests.campaigns.pipeline import aliases_of, settings_of, store_of
from tests.pipelines.small import DAY, NAME, a_usecase, small_work

DATES = (DAY, DAY + dt.timedelta(days=3))


def run_backfill(env: Mapping[str, str], folder: Path) -> None:
    """What a process does: the whole range, in the round's folder."""
    os.environ.update({"PENSTOCK_COMMIT": "0" * 40, "PENSTOCK_RETRIES": "2", **env})
    importlib.reload(crashpoints)  # It reads the environment when it is loaded.
    usecase = a_usecase()
    pipelines.task.load_usecase = lambda name: usecase  # type: ignore[attr-defined]
    roots = roots_between(NAME, *DATES)
    session = Session(
        settings_of(folder),
        store=store_of(folder),
        runner=StubRunner(small_work()),
        order=order_of(roots),
    )
    run(session, roots)


def contents(folder: Path) -> dict[str, str]:
    """The content digest of each artifact by its key."""
    store = store_of(folder)
    found = [read_manifest(store, path) for path in store.list("manifests/")]
    return {manifest.key: manifest.content for manifest in found}


def verdicts(folder: Path) -> list[tuple[str, str]]:
    """What was decided about which candidate, in order."""
    entries = aliases_of(folder).log.entries(NAME, "champion")
    return [(entry.candidate.key, entry.action) for entry in entries]
