"""Load on a service: through the harness of the peers, or wrk alone."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import socket
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.serving_data import MODEL, Cell, Data, Results, Side

PORT = 18090
PATH = f"/v2/models/{MODEL}/infer"
#: A connection is starved if it gets less than this share of the median of all.
STARVED = 0.5
_LUA = """
local requests, n, i = {}, 0, 0
function init(args)
   for line in io.lines(os.getenv("BENCH_BODIES")) do
      n = n + 1
      requests[n] = wrk.format("POST", nil, {["content-type"] = "application/json"}, line)
   end
end
function request() i = i % n + 1; return requests[i] end
function done(s, l, r)
   local e = s.errors
   io.write(string.format("RESULT {\\"requests\\":%d,\\"us\\":%d,\\"errors\\":%d,\\"p50\\":%f,\\"p99\\":%f}\\n",
      s.requests, s.duration, e.connect + e.read + e.write + e.status + e.timeout,
      l:percentile(50), l:percentile(99)))
end
"""


class Harness:
    """`serving/run` of a folder of peers, and the environments that it installed."""

    def __init__(self, run: Path, seconds: int, reps: int) -> None:
        self.run = run.absolute()
        self.home = Path(os.environ.get("BENCH_HOME", "/tmp/bench"))
        self._seconds, self._reps = seconds, reps

    def installed(self, name: str) -> bool:
        """Whether the environment of a peer is there."""
        return (self.home / "venvs" / name.partition("-")[0] / "bin").exists()

    def train(self) -> Path:
        """The model that every peer serves."""
        python = self.home / "venvs" / "base" / "bin" / "python"
        subprocess.run([python, self.run.with_name("train.py")], check=True)
        return self.home / "data" / "model.txt"

    def measure(
        self, peers: Sequence[str], sides: Mapping[str, Side], cells: str, home: Path | None = None
    ) -> Results:
        """Run the peers and ours in turns; with a `home`, its model and FastAPI by hand instead."""
        out = self.home / f"penstock-{os.getpid()}-{time.monotonic_ns()}.json"
        command = [str(self.run), *peers, "--out", str(out), "--cells", cells]
        command += ["--reps", str(self._reps), "--seconds", str(self._seconds)]
        if home is not None:
            command += self._by_hand()
        for number, (name, side) in enumerate(sides.items()):
            url = f"http://127.0.0.1:{PORT + number}{PATH}"
            command += ["--extra", name, "kserve-v2", url]
            command += ["--extra-cmd", name, shlex.join(side.command(PORT + number))]
            command += ["--extra-ready", name, "/v2/health/ready"]
        environment = {**os.environ, "BENCH_HOME": str(home or self.home)}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        found = json.loads(out.read_text())
        out.unlink()
        for name, why in found["failed"].items():
            print(f"  {name} failed: {why}")
        return {
            name: {cell: _median(runs) for cell, runs in cells.items()}
            for name, cells in found["http"].items()
        }

    def _by_hand(self) -> list[str]:
        """FastAPI with two processes, serving the CatBoost model of `serving_catboost_app`."""
        name, port = "fastapi-raw-2", PORT + 9
        uvicorn = self.home / "venvs" / "fastapi" / "bin" / "uvicorn"
        command = [
            str(uvicorn),
            "serving_catboost_app:app",
            "--app-dir",
            str(Path(__file__).parent),
        ]
        command += ["--port", str(port), "--workers", "2", "--no-access-log", "--loop", "uvloop"]
        command += ["--log-level", "warning", "--http", "httptools"]
        url = f"http://127.0.0.1:{port}/predict"
        return ["--extra", name, "instances", url, "--extra-cmd", name, shlex.join(command)]


def _median(runs: Sequence[Mapping[str, float]]) -> Cell:
    def middle(key: str) -> float:
        return statistics.median(run[key] or 0.0 for run in runs)

    errors = int(sum(run["errors"] for run in runs))
    return Cell(middle("rps"), middle("p50_ms"), middle("p99_ms"), middle("cpu_s_per_1000"),
                errors, middle("other_cores"))  # fmt: skip


@contextmanager
def serving(side: Side) -> Iterator[int]:
    """The service, ready on PORT; yields the pid of its first process."""
    process = subprocess.Popen(side.command(PORT), stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not _ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the service did not get ready")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _ready() -> bool:
    try:
        url = f"http://127.0.0.1:{PORT}/v2/health/ready"
        return bool(urllib.request.urlopen(url, timeout=5).status == 200)
    except OSError:
        return False


def body(data: Data, number: int, rows: int) -> bytes:
    """The JSON of request `number`."""
    start = number * rows % (len(data.rows) - rows + 1)
    values = data.rows[start : start + rows].ravel().tolist()
    tensor = {"name": "x", "shape": [rows, data.rows.shape[1]], "datatype": "FP64", "data": values}
    return json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()


def measure_alone(side: Side, data: Data, cells: Sequence[str], seconds: int) -> dict[str, Cell]:
    """Penstock alone, by wrk."""
    with serving(side) as pid:
        return load(data.model.parent, data, cells, seconds, pid)


def load(folder: Path, data: Data, cells: Sequence[str], seconds: int, pid: int) -> dict[str, Cell]:
    """What wrk gets from the server on PORT, whose first process is `pid`; files go to `folder`."""
    (folder / "load.lua").write_text(_LUA)
    found = {}
    for cell in cells:
        rows, connections = map(int, cell.split("x"))
        bodies = b"\n".join(body(data, number, rows) for number in range(256 if rows == 1 else 32))
        (folder / "bodies").write_bytes(bodies + b"\n")
        _wrk(folder, connections, 1)
        before = cpu_of_tree(pid)
        result = _wrk(folder, connections, seconds)
        cpu = cpu_of_tree(pid) - before
        good = result["requests"]
        found[cell] = Cell(good / result["us"] * 1e6, result["p50"] / 1e3,
                           result["p99"] / 1e3, 1e3 * cpu / good, int(result["errors"]))  # fmt: skip
    return found


def _wrk(folder: Path, connections: int, seconds: int) -> dict[str, float]:
    command = [os.environ.get("BENCH_WRK", "wrk"), "-t1", f"-c{connections}", f"-d{seconds}s"]
    command += ["-s", str(folder / "load.lua"), f"http://127.0.0.1:{PORT}{PATH}"]
    environment = {**os.environ, "BENCH_BODIES": str(folder / "bodies")}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found = re.search(r"RESULT (\{.*\})", done.stdout)
    assert found, done.stdout
    result: dict[str, float] = json.loads(found.group(1))
    return result


def cpu_of_tree(pid: int) -> float:
    """CPU seconds of a process, its descendants, and children of theirs that have ended."""
    tick, parents, spent = os.sysconf("SC_CLK_TCK"), {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
            spent[int(entry.name)] = sum(map(int, fields[11:13])) / tick
    tree = {pid}
    while more := {child for child, parent in parents.items() if parent in tree} - tree:
        tree |= more
    return sum(spent.get(member, 0.0) for member in tree)


def fairness(side: Side, data: Data, seconds: int, connections: int = 256) -> str:
    """How evenly `connections` that ask without a pause are answered, as a sentence."""
    request = body(data, 0, 1)
    head = f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(request)}\r\n\r\n"
    with serving(side):
        counts = asyncio.run(_ask_all(head.encode() + request, seconds, connections))
    middle = statistics.median(counts)
    starved = sum(count < STARVED * middle for count in counts)
    return (
        f"1x{connections}: a connection got {min(counts)} to {max(counts)} answers, {middle:.0f} in "
        f"the middle; starved (less than half of that): {starved}"
    )


class _Client(asyncio.Protocol):
    """Asks again as soon as it is answered. An answer of one row comes in one piece."""

    def __init__(self, request: bytes) -> None:
        self.request, self.answers = request, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        assert data.startswith(b"HTTP/1.1 200 "), data[:200]
        self.answers += 1
        self.transport.write(self.request)


async def _ask_all(request: bytes, seconds: int, connections: int) -> list[int]:
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(lambda: _Client(request), "127.0.0.1", PORT)
        clients.append(client)
    before = [client.answers for client in clients]
    await asyncio.sleep(seconds)
    after = [client.answers for client in clients]
    for client in clients:
        client.transport.abort()
    return [later - earlier for later, earlier in zip(after, before, strict=True)]
