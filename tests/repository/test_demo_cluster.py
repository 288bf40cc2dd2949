"""The demo on a cluster, as far as it goes without servers; with them: `make demo-cluster`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.repository import tree


def test_without_servers_it_says_how_to_get_them(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, tree.ROOT / "scripts/demo-cluster"],
        env=os.environ | {"PATH": "", "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 69, done.stderr
    assert "nomad, consul, vault, versitygw are neither on PATH nor built" in done.stderr
    assert "`make servers`" in done.stderr
    assert done.stdout == ""


def test_it_sees_no_other_cluster():
    shown = subprocess.run(
        ["make", "-n", "demo-cluster"], cwd=tree.ROOT, capture_output=True, text=True, check=True
    ).stdout
    line = next(line for line in shown.splitlines() if "scripts/demo-cluster" in line)
    assert line.lstrip().startswith("env $(env")
