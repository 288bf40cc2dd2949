"""The ceiling of the serving benchmark: a server in C that gives every request the same answer."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.serving_data import Cell, Data
from tests.benchmarks.serving_harness import PORT, load

SOURCE = Path(__file__).with_suffix(".c")
NAME = "ceiling (C, no model)"
_LATEST = 10.0


def measure(folder: Path, data: Data, cells: Sequence[str], seconds: int) -> dict[str, Cell]:
    """What wrk gets from it; nothing without a C compiler, and for cells of several rows."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return {}
    server = folder / "ceiling"
    subprocess.run([compiler, "-O2", "-D_GNU_SOURCE", str(SOURCE), "-o", str(server)], check=True)
    # A larger body may come in several pieces, each of which would be answered.
    single = [cell for cell in cells if cell.startswith("1x")]
    process = subprocess.Popen([server, str(PORT)])
    try:
        _wait()
        return load(folder, data, single, seconds, process.pid)
    finally:
        process.terminate()
        process.wait()


def _wait() -> None:
    latest = time.monotonic() + _LATEST
    while time.monotonic() < latest:
        try:
            socket.create_connection(("127.0.0.1", PORT), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"the ceiling does not listen on port {PORT}")
