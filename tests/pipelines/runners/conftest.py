"""A world of real processes, and pipelines that can be killed in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from registry.artifacts.attempt import Attempt
from tests.contracts.rigs import REFERENCE, LocalRig

ROOT = Path(__file__).resolve().parents[3]

Pipeline = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def rig(weird_tmp_path: Path) -> Iterator[LocalRig]:
    made = LocalRig(weird_tmp_path)
    yield made
    made.close()


@pytest.fixture
def pipeline(rig: LocalRig) -> Iterator[Pipeline]:
    """Starts another process that runs one attempt and waits for its end."""
    started: list[subprocess.Popen[str]] = []

    def start(attempt: Attempt, **env: str) -> subprocess.Popen[str]:
        record = msgspec.json.encode(attempt).decode()
        command = json.dumps(rig.command(attempt, REFERENCE))
        process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.pipeline", str(rig.var), record, command],
            cwd=ROOT,
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
