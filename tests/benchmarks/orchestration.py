"""What orchestration costs: CPU of a task that does nothing, beside Luigi alone in the same run.

`python -m tests.benchmarks.orchestration [PEERS] [--tasks N] [--seconds S]`. CPU seconds are those
of the whole process tree (user and system), which vary less than wall time on a shared machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """CPU seconds, wall seconds and peak RSS (MiB) of a finished program, and what it printed."""

    cpu: float
    wall: float
    peak_mb: float
    output: str


def main() -> int:
    """Measure and print; judges nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers", nargs="?", type=Path, help="folder of peer harnesses")
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=60.0)
    words = parser.parse_args()
    tasks(words.tasks)
    waiting(words.seconds)
    if words.peers:
        print(
            f"  other orchestrators: {words.peers}/orchestration/run installs and measures them "
            "(make, doit, Prefect, Snakemake, Dagster, Airflow …); minutes each, so run by hand"
        )
    return 0


def tasks(count: int) -> None:
    """CPU for each of `count` tasks, alone and with five times as many."""
    plain = measure("plain", count)
    few = measure("stub", count)
    many = measure("stub", 5 * count)
    table = (
        (f"luigi.build(workers=4), a file each, {count:,} tasks", plain, count),
        (f"penstock, stub runner, artifacts committed, {count:,} tasks", few, count),
        (f"penstock, stub runner, artifacts committed, {5 * count:,} tasks", many, 5 * count),
    )
    for what, cost, number in table:
        each = 1e3 * cost.cpu / number
        print(f"  {what}: {cost.cpu:.1f} CPU s, {each:.1f} ms a task, {cost.peak_mb:.0f} MiB")
    print(f"  CPU a task against Luigi alone: {few.cpu / plain.cpu:.2f}")
    print(f"  CPU({5 * count:,} tasks) / CPU({count:,} tasks): {many.cpu / few.cpu:.1f}")


def waiting(seconds: float) -> None:
    """RSS and CPU of a pipeline process while 300 of its tasks wait on jobs."""
    rss, share, threads = measure("waiting", 300, seconds).output.split()
    print(f"  300 tasks waiting on jobs: {rss} MiB RSS, {share} % of a core, {threads} threads")


def measure(what: str, *numbers: float) -> Cost:
    """Run one program of `tests.benchmarks.noop` in a fresh folder and take its costs."""
    folder = tempfile.mkdtemp(prefix="penstock-bench-")
    command = [sys.executable, "-m", "tests.benchmarks.noop", what, folder, *map(str, numbers)]
    before = os.times()
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        output = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if process.returncode != 0:
        raise SystemExit(f"{what} failed with {process.returncode}")
    wall = os.times().elapsed - before.elapsed
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024, output)


if __name__ == "__main__":
    raise SystemExit(main())
