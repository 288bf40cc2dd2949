"""`python -m tests.benchmarks.payloads [PEERS]`: 600 kB of bytes and a stage that sums them.

wrk asks over 16 kept connections, penstock and aqueduct with shared memory in turns, each with as many
processes that sum. aqueduct is run in the environment of its name that `PEERS/serving/install`
makes under BENCH_HOME; without it penstock is measured alone. CPU is that of the whole tree of processes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.benchmarks.serving_data import Cell
from tests.benchmarks.serving_harness import cpu_of_tree
from tests.serving import staged
from tests.serving.moody import ENVIRONMENT
from tests.serving.rig import Publisher, service

SIZE, CONNECTIONS, PROCESSES = 600_000, 16, 2
PORT = 18101
_LUA = """
local f = io.open(os.getenv("BENCH_BODY"), "rb")
wrk.method, wrk.body = "POST", f:read("*a")
wrk.headers["Inference-Header-Content-Length"] = "0"
function done(s, l, r)
   local e = s.errors
   io.write(string.format("RESULT {\\"requests\\":%d,\\"us\\":%d,\\"errors\\":%d,\\"p50\\":%f,\\"p99\\":%f}\\n",
      s.requests, s.duration, e.connect + e.read + e.write + e.status + e.timeout,
      l:percentile(50), l:percentile(99)))
end
"""

#: Where a server answers, and the pid of its first process.
Started = AbstractContextManager[tuple[str, int]]


def main() -> int:
    """Measure and print; judges nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers", nargs="?", type=Path, help="folder of peer harnesses")
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--reps", type=int, default=3)
    words = parser.parse_args()
    if shutil.which(os.environ.get("BENCH_WRK", "wrk")) is None:
        print("  left out: there is no wrk (Debian package wrk)")
        return 0
    python = Path(os.environ.get("BENCH_HOME", "/tmp/bench")) / "venvs/aqueduct/bin/python"
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        (folder / "load.lua").write_text(_LUA)
        (folder / "body").write_bytes(os.urandom(SIZE))
        sides: dict[str, Callable[[], Started]] = {"penstock": _ours(folder)}
        if python.exists():
            for share in ("stream", "copy"):
                sides[f"aqueduct, {share}"] = lambda share=share: aqueduct(python, share)  # type: ignore[misc]
        else:
            print("  left out, not installed (serving/install of the peers): aqueduct")
        measured: dict[str, list[Cell]] = {side: [] for side in sides}
        for _ in range(words.reps):
            for side, start in sides.items():
                measured[side].append(measure(folder, start, words.seconds))
    tell(measured)
    return 0


def _ours(folder: Path) -> Callable[[], Started]:
    publisher = Publisher(folder)
    publisher.environment.update(ENVIRONMENT)
    publisher.publish("sums", staged.sums(folder / "bundle").folder)

    @contextmanager
    def start() -> Iterator[tuple[str, int]]:
        settings = {"serving_stages": PROCESSES, "log_level": "warning"}
        with service(publisher, folder / "service", "sums", **settings) as running:  # type: ignore[arg-type]
            yield f"{running.url}/v2/models/sums/infer", running.process.pid

    return start


@contextmanager
def aqueduct(python: Path, share: str) -> Iterator[tuple[str, int]]:
    """The peer, ready; its body goes into shared memory by `share`."""
    app = Path(__file__).with_name("payloads_aqueduct_app.py")
    own = {"BENCH_PORT": str(PORT), "BENCH_SHARE": share, "BENCH_NPROCS": str(PROCESSES)}
    process = subprocess.Popen(
        [python, app], env={**os.environ, **own}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not _ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("aqueduct did not get ready")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{PORT}/predict", process.pid
    finally:
        process.terminate()
        process.wait()


def _ready() -> bool:
    try:
        url = f"http://127.0.0.1:{PORT}/health"
        return bool(urllib.request.urlopen(url, timeout=5).status == 200)
    except OSError:
        return False


def measure(folder: Path, start: Callable[[], Started], seconds: int) -> Cell:
    """Verify one answer, warm up for a second, measure."""
    with start() as (url, pid):
        _verify(url, (folder / "body").read_bytes())
        _wrk(folder, url, 1)
        before = cpu_of_tree(pid)
        result = _wrk(folder, url, seconds)
        cpu = cpu_of_tree(pid) - before
    good = result["requests"] - result["errors"]
    return Cell(good / result["us"] * 1e6, result["p50"] / 1e3, result["p99"] / 1e3,
                1e3 * cpu / max(good, 1), int(result["errors"]))  # fmt: skip


def _verify(url: str, body: bytes) -> None:
    request = urllib.request.Request(url, body, {"Inference-Header-Content-Length": "0"})
    answer = urllib.request.urlopen(request, timeout=60).read()
    total = float(sum(body))
    assert answer == repr(total).encode() or answer.endswith(struct.pack("<d", total))


def _wrk(folder: Path, url: str, seconds: int) -> dict[str, float]:
    command = [os.environ.get("BENCH_WRK", "wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    command += ["-s", str(folder / "load.lua"), url]
    environment = {**os.environ, "BENCH_BODY": str(folder / "body")}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found = re.search(r"RESULT (\{.*\})", done.stdout)
    assert found, done.stdout
    result: dict[str, float] = json.loads(found.group(1))
    return result


def tell(measured: dict[str, list[Cell]]) -> None:
    """Each side's medians, then ours as ratios to the better of the others."""
    print(f"  {SIZE} B x {CONNECTIONS}: {'server':18} {'req/s':>8} {'p50 ms':>8} {'p99 ms':>8} "
          f"{'CPU s/1000':>11} {'errors':>7}")  # fmt: skip
    rows = {name: _middle(cells) for name, cells in measured.items()}
    for name, row in rows.items():
        print(f"  {SIZE} B x {CONNECTIONS}: {name:18} {row.rps:8,.0f} {row.p50:8.2f} {row.p99:8.2f} "
              f"{row.cpu:11.3f} {row.errors:7d}")  # fmt: skip
    ours = rows.pop("penstock")
    if rows:
        best = max(rows.values(), key=lambda row: row.rps)
        print(f"  throughput × {ours.rps / best.rps:.1f}, CPU 1/{best.cpu / ours.cpu:.1f}")


def _middle(cells: list[Cell]) -> Cell:
    def middle(of: Callable[[Cell], float]) -> float:
        return statistics.median(map(of, cells))

    errors = sum(cell.errors for cell in cells)
    return Cell(middle(lambda c: c.rps), middle(lambda c: c.p50), middle(lambda c: c.p99),
                middle(lambda c: c.cpu), errors)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
