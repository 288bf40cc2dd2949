"""Every crash point is listed, used, and kills."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from registry.crashpoints import POINTS, crashpoint

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("penstock", "registry", "usecases", "pipelines", "jobs", "serving")
_CALL = re.compile(r'crashpoint\("([^"]+)"\)')


def test_the_list_is_what_the_code_passes():
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    sources = {file: file.read_text() for file in files if file.name != "crashpoints.py"}
    used = [name for text in sources.values() for name in _CALL.findall(text)]
    assert set(used) == set(POINTS)
    assert len(POINTS) == len(set(POINTS))


def test_a_point_that_nobody_named_does_nothing():
    crashpoint(POINTS[0])


@pytest.mark.parametrize(("at", "reached"), [("a.b", 1), ("a.b:3", 3), ("a.b:6", 6), ("c.d", 0)])
def test_a_point_kills_at_its_hit_and_leaves_a_trace(at: str, reached: int, tmp_path: Path):
    program = (
        "from registry.crashpoints import crashpoint\n"
        "for number in range(1, 6):\n"
        "    print(number, flush=True)\n"
        "    crashpoint('a.b')\n"
    )
    log = tmp_path / "log"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PENSTOCK_CRASH_AT": at, "PENSTOCK_CRASH_LOG": str(log)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    killed = 0 < reached <= 5
    assert done.returncode == (-signal.SIGKILL if killed else 0)
    assert done.stdout.split()[-1] == str(reached if killed else 5)
    assert (log.read_text() if killed else log.exists()) == ("a.b\n" if killed else False)
