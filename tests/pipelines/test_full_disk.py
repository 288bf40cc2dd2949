"""A file system that is full or read-only, as the kernel says it: real mounts, real jobs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from registry.artifacts.store import open_environment
from registry.settings import Settings
from tests.campaigns.pipeline import SIZES, run_pipeline, store_of
from tests.campaigns.survival import check_whole
from tests.races import PATIENCE, processes


@pytest.fixture
def mount(tmp_path):
    """Mounts a small file system in memory at a folder of this test."""
    mounted = []

    def do(name, options):
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if (
            not sys.platform.startswith("linux")
            or subprocess.run(command, capture_output=True, check=False).returncode
        ):
            pytest.skip("may not mount a file system here")
        mounted.append(folder)
        return folder

    yield do
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def end(folder, root="features"):
    child = processes().Process(target=run_pipeline, args=({}, folder, root))
    child.start()
    child.join(PATIENCE)
    return child.exitcode


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@pytest.mark.parametrize("kib", [16, 40, 64])
def test_a_full_store_commits_nothing_by_halves(mount, tmp_path, kib):
    """However far it comes before the disk is full."""
    store = mount("store", f"size={kib}k")
    assert end(tmp_path) == 73
    check_whole(tmp_path)
    remount(store, "size=8m")
    assert end(tmp_path) == 0
    assert len(check_whole(tmp_path)) == SIZES["features"]


def test_a_read_only_store_is_said_to_be_one(mount, tmp_path):
    store = mount("store", "size=8m,ro")
    assert end(tmp_path) == 73
    remount(store, "rw")
    assert end(tmp_path) == 0
    # Read-only again, there is nothing to do and nothing to complain of.
    remount(store, "ro")
    assert end(tmp_path) == 0


def test_a_read_only_folder_of_the_machine_is_said_to_be_one(mount, tmp_path):
    var = mount("var", "size=8m,ro")
    assert end(tmp_path) == 73
    remount(var, "rw")
    assert end(tmp_path) == 0
    assert open_environment(Settings.load({"PENSTOCK_STORE": str(tmp_path / "store")})).url == (
        store_of(tmp_path).url
    )
