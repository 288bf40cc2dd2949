"""A whole pipeline of small jobs, as a process that finds everything in its environment.

`python -m tests.integration.smallrun MACHINE ROOT`: store, secrets and logs are those of the
settings; the pipeline makes what `ROOT` (a kind of task) needs, with jobs as `python -m jobs`. As
MACHINE `nomad` its jobs are those registered with Nomad (see `world`), of the size SMALLRUN_SIZE.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO
from unittest.mock import patch

from pipelines.events import Silent
from pipelines.run import run
from pipelines.runners.launch import Limits
from pipelines.runners.local import LocalRunner
from pipelines.runners.sizes import Capacity
from pipelines.session import Session
from registry.errors import PenstockError
from registry.logs import configure
from registry.settings import Settings
from registry.usecase import STEPS
from tests.campaigns.pipeline import ROOT, command, root_of
from tests.pipelines.small import a_usecase

#: Artifacts of a whole run: source, features, model, evaluation, predictions, and the best of them.
ARTIFACTS = 6


def start(
    machine: str, folder: Path, env: Mapping[str, str], root: str = "publish",
    output: int | IO[str] = subprocess.PIPE,
) -> subprocess.Popen[str]:  # fmt: skip
    """Start a pipeline whose `var` lies in `folder`; `output` takes stdout and stderr."""
    own = {
        "PENSTOCK_VAR": str(folder / "var"),
        "PENSTOCK_WHO": "tester",
        "PENSTOCK_ENVIRONMENT": "dev/test",
        "PENSTOCK_COMMIT": "0" * 40,
        "PENSTOCK_RETRIES": "2",
        "PENSTOCK_LOG_LEVEL": "debug",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.smallrun", machine, root],
        cwd=ROOT, env={**os.environ, **own, **env}, text=True,
        stdout=output, stderr=subprocess.STDOUT,
    )  # fmt: skip


def until(holds: Callable[[], bool], pipeline: subprocess.Popen[str], patience: float = 90) -> None:
    """Wait until `holds()`; a pipeline that ends before fails the test with what it said."""
    deadline = time.monotonic() + patience
    while not holds():
        if pipeline.poll() is not None or time.monotonic() > deadline:
            pipeline.kill()
            raise AssertionError(pipeline.communicate()[0])
        time.sleep(0.05)


def local_runner(settings: Settings, machine: str) -> LocalRunner:
    """Room for a few jobs, which end soon after they are asked to."""
    limits = Limits(grace_s=0.2)
    return LocalRunner(
        settings.var, Capacity(4, 4096), command=command, host=machine, limits=limits
    )


class Teller(Silent):
    """Prints what a person would be told."""

    def waiting(self, step: str, reason: str) -> None:
        print(f"waiting {step}: {reason}", flush=True)

    def started(self, step: str, attempt: int, size: str) -> None:
        print(f"started {step}: attempt {attempt}, size {size}", flush=True)

    def retried(self, step: str, reason: str) -> None:
        print(f"again {step}: {reason}", flush=True)


def main(machine: str, root: str) -> int:
    """Run it; the exit code is that of the failure, 0 for none."""
    settings = Settings.load()
    configure(settings.log_level)
    sizes = dict.fromkeys(STEPS, os.environ.get("SMALLRUN_SIZE", "s"))
    usecase = a_usecase(
        window_days=1, lookback_days=0, algorithms={"lightgbm": {"leaves": 3}}, sizes=sizes
    )
    runner = None if machine == "nomad" else local_runner(settings, machine)
    session = Session(settings, runner=runner, observer=Teller())
    try:
        with patch("pipelines.task.load_usecase", lambda name: usecase):
            run(session, [root_of(root)])
    except PenstockError as error:
        print(f"{error.kind}: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
