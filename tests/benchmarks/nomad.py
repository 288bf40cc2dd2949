"""What the pipeline adds to Nomad: jobs that do nothing, beside a bare loop over the HTTP API.

`python -m tests.benchmarks.nomad [PEERS] [--jobs N] [--cap N] [--rounds N] [--seconds S]`. One real
agent, the same task body (read the attempt, commit an artifact of one small file), the same number
of jobs in flight. The bare loop dispatches attempts that were recorded before and waits until
Nomad calls them dead; the pipeline plans, records, dispatches, follows, keeps logs and ends.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.nomad_loops import bare, through_nomad, waiting_in_nomad
from tests.contracts.nomad_rig import a_parent
from tests.servers import programs
from tests.servers.nomad import NomadServer, nomad_agent

ROOT = Path(__file__).resolve().parents[2]
CALLS: dict[str, Callable[..., dict[str, float]]] = {
    "bare": bare,
    "penstock": through_nomad,
    "waiting": waiting_in_nomad,
}

#: No-op jobs that run at once: more would take the processors from Nomad and from who waits.
AT_ONCE = 8

#: What each job does: the contract of `python -m jobs`, without what jobs are made of.
BODY = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from registry.artifacts.attempt import Attempt
from registry.artifacts.commit import Output, commit
from registry.artifacts.provenance import producer_of
from registry.artifacts.records import decode_record
from registry.artifacts.store import open_store
folder = Path(os.environ["NOMAD_TASK_DIR"])
words = json.loads((folder / "dispatch.json").read_text())
store = open_store(words["root"])
attempt = decode_record(store.get(words["attempt"]), Attempt, "", "")
(folder / "out").mkdir()
(folder / "out/ok.txt").write_text("ok")
commit(store, attempt, Output(folder / "out"), producer_of(attempt))
"""


def main() -> int:
    """Measure and print; judges nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers", nargs="?", type=Path, help="not used: the peer is a bare loop")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--cap", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0)
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the agent ends, too
    program = programs.find("nomad")
    if program is None:
        print("  left out: nomad is neither on PATH nor built; run `make servers`")
        return 0
    with (
        tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder,
        nomad_agent(program, Path(folder, "agent")) as server,
    ):
        compare(server, Path(folder), words.jobs, words.cap, words.rounds)
        wait(server, Path(folder), words.jobs, words.cap, words.seconds)
    return 0


def compare(server: NomadServer, folder: Path, jobs: int, cap: int, rounds: int) -> None:
    """Wall time of the pipeline against the bare loop, in turns."""
    _register(server, "noop", [sys.executable, "-c", BODY, str(ROOT)], AT_ONCE)
    ratios = []
    for turn in range(rounds):
        found = {}
        for name in ("bare", "penstock")[:: 1 if turn % 2 else -1]:  # who is first takes turns
            found[name] = _measured(server, folder / f"{name}-{turn}", name, "noop", jobs, cap)
            server.api.put("/v1/system/gc", {})  # so that each finds a short list of jobs
        walls = {name: each["wall"] for name, each in found.items()}
        ratios.append(walls["penstock"] / walls["bare"])
        share = 100 * found["penstock"]["cpu"] / walls["penstock"]
        print(
            f"  {jobs} no-op jobs, {cap} in flight: bare loop {walls['bare']:.1f} s, pipeline "
            f"{walls['penstock']:.1f} s ({share:.0f} % of a core); ratio {ratios[-1]:.2f}",
            flush=True,
        )
    print(f"  wall ratio, median of {rounds}: {statistics.median(ratios):.2f}")


def wait(server: NomadServer, folder: Path, jobs: int, cap: int, seconds: float) -> None:
    """CPU of the pipeline while its jobs run."""
    _register(server, "wait", ["/bin/sleep", str(round(2 * seconds) + 120)], cap)
    found = _measured(server, folder / "waiting", "waiting", "wait", jobs, cap, seconds)
    print(
        f"  {jobs} steps that wait, {cap} of them on jobs in Nomad: {found['share']:.2f} % of a core, "
        f"{found['rss']:.0f} MiB RSS, {found['threads']:.0f} threads"
    )


def _register(server: NomadServer, prefix: str, command: list[str], at_once: int) -> None:
    """Register a job of which the one node takes so many at once; others wait in Nomad."""
    (node,) = server.api.get("/v1/nodes?resources=true")
    shares = node["NodeResources"]["Cpu"]["CpuShares"]
    asks = {"CPU": shares // (at_once + 1), "MemoryMB": 2000 // at_once}
    server.register(a_parent(f"{prefix}-train-s", command, Resources=asks))


def _measured(
    server: NomadServer, folder: Path, what: str, prefix: str, *numbers: float
) -> dict[str, float]:
    """Run one program of this module in a process of its own; what it found out."""
    folder.mkdir()
    command = [sys.executable, "-m", "tests.benchmarks.nomad", what, str(folder), prefix]
    env = {**os.environ, **server.environment}
    done = subprocess.run(
        [*command, *map(str, numbers)], cwd=ROOT, env=env, stdout=subprocess.PIPE, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _perform(what: str, folder: Path, prefix: str, numbers: list[float]) -> None:
    begun, used = time.monotonic(), time.process_time()
    found = CALLS[what](folder, prefix, *numbers)
    cost = {"wall": time.monotonic() - begun, "cpu": time.process_time() - used}
    print(json.dumps({**cost, **found}))


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in CALLS:
        _perform(sys.argv[1], Path(sys.argv[2]), sys.argv[3], [float(n) for n in sys.argv[4:]])
        os._exit(0)  # threads of steps that were left waiting
    raise SystemExit(main())
