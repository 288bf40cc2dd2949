"""Tasks that cost nothing, so that what is measured is the orchestration around them.

Run as programs by `tests.benchmarks.orchestration`, each in a process of its own.
"""

from __future__ import annotations

import datetime as dt
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import luigi

from pipelines.run import run
from pipelines.runners.machine import Script, commit_files
from pipelines.runners.stub import StubRunner
from pipelines.session import Session
from pipelines.task import ArtifactTask
from registry.settings import Settings

DAY = dt.date(2013, 1, 2)


class Node(ArtifactTask):
    """An artifact of one small file, made by the stub runner; a fan of them meets in the last."""

    kind = "train"
    family = "noop"
    number = luigi.IntParameter()
    width = luigi.IntParameter(default=0)

    @property
    def label(self) -> str:
        return f"node {self.number}"

    def inputs(self) -> dict[str, Any]:
        above = [self.sibling(Node, number=n, width=0) for n in range(1, self.width)]
        return {"nodes": above} if above else {}

    def parameters(self) -> dict[str, Any]:
        return {"number": self.number}


class PlainNode(luigi.Task):
    """The same with Luigi alone: a file each, written by Luigi's own atomic target."""

    folder = luigi.Parameter()
    number = luigi.IntParameter()
    width = luigi.IntParameter(default=0)

    def requires(self) -> list[luigi.Task]:
        return [PlainNode(folder=self.folder, number=n) for n in range(1, self.width)]

    def output(self) -> luigi.LocalTarget:
        return luigi.LocalTarget(f"{self.folder}/{self.number}")

    def run(self) -> None:
        with self.output().open("w") as file:
            file.write("ok\n")


def plain(folder: Path, width: int) -> None:
    """Run `width` tasks with `luigi.build(workers=4)`."""
    root = PlainNode(folder=str(folder), number=0, width=width)
    assert luigi.build([root], workers=4, local_scheduler=True, log_level="CRITICAL")


def through_stub(folder: Path, width: int, delay: float = 0.0, workers: int = 16) -> None:
    """Run `width` tasks through the dispatcher and the stub runner, artifacts committed."""
    env = {
        "PENSTOCK_STORE": str(folder / "store"),
        "PENSTOCK_VAR": str(folder / "var"),
        "PENSTOCK_WORKERS": str(workers),
    }
    runner = StubRunner(commit_files({"ok.txt": b"ok\n"}), script=lambda _: Script(delay_s=delay))
    session = Session(Settings.load(env), runner=runner)
    parameters: dict[str, Any] = {"usecase": "flights", "date": DAY, "number": 0, "width": width}
    result = run(session, [Node(**parameters)])
    assert len(result.made) == width, (len(result.made), width)


def waiting(folder: Path, width: int, seconds: float) -> None:
    """Hold `width` tasks on jobs that take `seconds`; prints RSS and CPU while they wait."""
    worker = threading.Thread(
        target=through_stub, args=(folder, width, seconds, width + 1), daemon=True
    )
    worker.start()
    time.sleep(max(5.0, seconds * 0.2))
    before, started = time.process_time(), time.monotonic()
    time.sleep(seconds * 0.6)
    share = (time.process_time() - before) / (time.monotonic() - started)
    threads = sum(thread.is_alive() for thread in threading.enumerate())
    print(f"{rss_mb():.0f} {share * 100:.2f} {threads}", flush=True)


def rss_mb() -> float:
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    what, where, *numbers = sys.argv[1:]
    calls: dict[str, Callable[..., None]]
    calls = {"plain": plain, "stub": through_stub, "waiting": waiting}
    calls[what](Path(where), int(numbers[0]), *(float(number) for number in numbers[1:]))
