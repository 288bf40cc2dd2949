"""A scoring in shards is killed: only what is missing is scored again, and the content is the same."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from registry.artifacts.attempt import attempts_of
from registry.artifacts.fetch import read_manifest
from registry.artifacts.manifest import Manifest
from registry.artifacts.store import open_store
from tests.campaigns.pipeline import ROOT
from tests.integration.shardrun import FOLDER, SHARDS
from tests.integration.smallrun import until

pytestmark = pytest.mark.timeout(300)


def start(folder: Path, root: str) -> subprocess.Popen[str]:
    own = {
        FOLDER: str(folder), "PENSTOCK_STORE": str(folder / "store"),
        "PENSTOCK_VAR": str(folder / "var"), "PENSTOCK_WHO": "tester",
        "PENSTOCK_ENVIRONMENT": "dev/test", "PENSTOCK_COMMIT": "0" * 40,
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.shardrun", str(folder), root],
        cwd=ROOT, env={**os.environ, **own}, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


def finish(folder: Path, root: str) -> None:
    pipeline = start(folder, root)
    said = pipeline.communicate(timeout=240)[0]
    assert pipeline.returncode == 0, said


def manifests(folder: Path, family: str) -> list[Manifest]:
    store = open_store(str(folder / "store" / "dev/test"))
    found = [read_manifest(store, path) for path in store.list(f"manifests/{family}/")]
    return sorted(found, key=lambda manifest: manifest.parameters.get("shard", 0))


def attempts(folder: Path) -> list[int]:
    store = open_store(str(folder / "store" / "dev/test"))
    return [len(attempts_of(store, manifest.key)) for manifest in manifests(folder, "shard")]


def test_only_missing_shards_are_scored_after_a_kill(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    finish(killed, "publish")
    shutil.copytree(killed, whole)
    finish(whole, "predict")
    assert attempts(whole) == [1] * SHARDS
    assert all((manifest.rows or 0) >= 200 for manifest in manifests(whole, "shard"))

    held = killed / "held"
    held.mkdir()
    pipeline = start(killed, "predict")
    until(lambda: len(list(held.glob("*.pid"))) == SHARDS - 1, pipeline)
    until(lambda: len(manifests(killed, "shard")) == 1, pipeline)
    pipeline.kill()
    pipeline.communicate()
    for path in held.glob("*.pid"):
        os.kill(int(path.read_text()), signal.SIGKILL)
    (first,) = manifests(killed, "shard")
    assert first.parameters["shard"] == 0
    assert not manifests(killed, "predictions")

    shutil.rmtree(held)
    finish(killed, "predict")
    assert attempts(killed) == [1, *[2] * (SHARDS - 1)]
    assert manifests(killed, "shard")[0] == first
    contents = [[m.content for m in manifests(folder, "shard")] for folder in (killed, whole)]
    assert contents[0] == contents[1]
    (again,), (want,) = manifests(killed, "predictions"), manifests(whole, "predictions")
    assert (again.key, again.content, again.rows) == (want.key, want.content, want.rows)
