"""A pipeline of flights on the local runner whose prediction is made in shards, by the real jobs.

`python -m tests.integration.shardrun FOLDER publish|predict`; everything lies in FOLDER. Its jobs
are this module too, called with `--root …`. They cut tables into small row groups, so that a day
has several shards; a shard other than the first leaves its process id in `FOLDER/held` and stands
still while that folder is there.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jobs.__main__ as entry
from jobs import predict, tables
from jobs.outcome import Outcome
from pipelines.predict import Predict
from pipelines.publish import Publish
from pipelines.run import run
from pipelines.runners.launch import Limits
from pipelines.runners.local import LocalRunner
from pipelines.runners.protocol import AttemptReference
from pipelines.runners.sizes import Capacity
from pipelines.session import Session
from registry.artifacts.attempt import Attempt
from registry.errors import PenstockError
from registry.settings import Settings
from registry.usecase import Gate, load_usecase

DATE = dt.date(2013, 6, 4)
SHARDS = 3
ROW_GROUP = 200
FOLDER = "SHARDRUN_FOLDER"


def command(attempt: Attempt, reference: AttemptReference) -> list[str]:
    """This module in place of `jobs`."""
    del attempt
    root, key, digest = reference
    words = ["--root", root, "--attempt", key, "--digest", digest]
    return [sys.executable, "-m", "tests.integration.shardrun", *words]


def held(
    inputs: Mapping[str, Any], parameters: Mapping[str, Any], out: Path,
    score: Any = predict.run,
) -> Outcome:  # fmt: skip
    """The job `predict`, which may have to wait."""
    folder, shard = Path(os.environ[FOLDER]) / "held", parameters.get("shard", 0)
    if shard and folder.is_dir():
        (folder / f"{shard}.new").write_text(str(os.getpid()))
        (folder / f"{shard}.new").rename(folder / f"{shard}.pid")
    while shard and folder.is_dir():
        time.sleep(0.05)
    outcome: Outcome = score(inputs, parameters, out)
    return outcome


def pipeline(folder: Path, root: str) -> int:
    """Run it; the exit code is that of the failure, 0 for none."""
    flights = dataclasses.replace(
        load_usecase("flights"), window_days=2, lookback_days=1, horizons=(), shards=SHARDS,
        algorithms={"lightgbm": {"num_iterations": 10}}, gate=Gate(-1.0, -10.0, 10.0),
    )  # fmt: skip
    settings = Settings.load()
    runner = LocalRunner(
        settings.var, Capacity(4, 4096), command=command, host="shards", limits=Limits(grace_s=0.2)
    )
    about: dict[str, Any] = {"usecase": "flights", "date": DATE}
    task = Publish(**about) if root == "publish" else Predict(**about)
    try:
        with patch("pipelines.task.load_usecase", lambda name: flights):
            run(Session(settings, runner=runner), [task])
    except PenstockError as error:
        print(f"{error.kind}: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


def main(words: Sequence[str]) -> int:
    """A pipeline or, where a root is named, a job."""
    if words[0] != "--root":
        return pipeline(Path(words[0]), words[1])
    with patch.object(tables, "ROW_GROUP", ROW_GROUP), patch.object(predict, "run", held):
        return entry.main(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
