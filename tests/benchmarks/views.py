"""How long people wait for a command on a store of thousands of artifacts: cold processes, medians.

`python -m tests.benchmarks.views [PEERS] [--dates N] [--store URL]`. The store is filled with
flights of N dates by jobs that cost nothing, some sixteen artifacts a date, or used again where it is
filled. CPU seconds are those of the command, and vary less than wall time on a shared machine.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipelines.backfill import order_of, roots_between
from pipelines.run import run
from pipelines.runners.protocol import AttemptReference
from pipelines.runners.stub import StubRunner
from pipelines.session import Session
from registry.artifacts.attempt import Attempt
from registry.artifacts.commit import Output, commit
from registry.artifacts.provenance import producer_of
from registry.artifacts.store import open_environment, open_store
from registry.settings import Settings

FIRST = dt.date(2013, 2, 15)
_AUC = {"auc": 0.9, "base_auc": 0.6, "base_log_loss": 0.5, "log_loss": 0.4}
PLAN = "plan flights --date"
#: A date that is complete, the same with another model, and what else people ask for.
COMMANDS = (
    f"{PLAN} {{last}}",
    f"{PLAN} {{last}} --set lightgbm.num_leaves=99",
    "runs", "status", "cost", "models", "gc --dry-run",
)  # fmt: skip


def main() -> int:
    """Fill and measure; judges nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers", nargs="?", help="not used: there is nothing to compare with")
    parser.add_argument("--dates", type=int, default=318)
    parser.add_argument("--store", help="default: a folder that is gone afterwards")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        env = {
            "PENSTOCK_STORE": words.store or f"{folder}/store",
            "PENSTOCK_VAR": f"{folder}/var",
            "PENSTOCK_ENVIRONMENT": "dev/bench",
        }
        artifacts = fill(Settings.load({**os.environ, **env}), words.dates)
        last = FIRST + dt.timedelta(days=words.dates - 1)
        print(f"  {artifacts:,} artifacts of {words.dates} dates")
        for command in COMMANDS:
            line = command.format(last=last)
            wall, cpu = measure(line.split(), {**os.environ, **env})
            print(f"  penstock {line}: {wall:.2f} s, {cpu:.2f} CPU s", flush=True)
    return 0


def fill(settings: Settings, dates: int) -> int:
    """Make what is missing of the first dates, with five models each; returns how many there are."""
    for leaves in (None, 7, 15, 31, 63):
        changes = {"lightgbm": {"num_leaves": leaves}} if leaves else None
        roots = roots_between("flights", FIRST, FIRST + dt.timedelta(days=dates - 1), changes)
        run(Session(settings, runner=StubRunner(_work), order=order_of(roots)), roots)
    store = open_environment(settings)
    return sum(path.endswith(".json") for path in store.list("manifests/"))


def _work(attempt: Attempt, reference: AttemptReference) -> None:
    """One small file, and metrics that pass every gate."""
    with tempfile.TemporaryDirectory(prefix="penstock-") as name:
        Path(name, "data").write_text(attempt.key)
        used = {"peak_rss_mb": 300.0, "cpu_s": 2.0, "wall_s": 3.0}
        output = Output(Path(name), metrics=_AUC, resources=used)
        commit(open_store(reference.root), attempt, output, producer_of(attempt))


def measure(words: list[str], env: dict[str, str], times: int = 5) -> tuple[float, float]:
    """Median wall and CPU seconds of a command, each time in a process of its own."""
    walls, cpus = [], []
    for _ in range(times):
        before, started = os.times(), time.monotonic()
        command = [sys.executable, "-m", "penstock", *words]
        subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
        walls.append(time.monotonic() - started)
        after = os.times()
        spent = (after.children_user, after.children_system)
        cpus.append(sum(spent) - before.children_user - before.children_system)
    return statistics.median(walls), statistics.median(cpus)


if __name__ == "__main__":
    raise SystemExit(main())
