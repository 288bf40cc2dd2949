"""The commands that a newcomer runs: listed, explained, and helpful where something is missing."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.repository import tree

SCRIPTS = [".ci/run", "scripts/install"]


def test_make_alone_lists_every_target():
    # A make below another make, as in `make test`, also says which folder it enters.
    command = ["make", "--no-print-directory"]
    done = subprocess.run(command, cwd=tree.ROOT, capture_output=True, text=True, check=True)
    listed = {line.split()[1]: line for line in done.stdout.splitlines()}
    assert listed.keys() == tree.make_targets().keys()
    assert all(text in listed[target] for target, text in tree.make_targets().items())


def test_every_phony_target_is_explained():
    makefile = (tree.ROOT / "Makefile").read_text()
    phony = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split()
    assert set(phony) == set(tree.make_targets())


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_executable_and_parse(script):
    path = tree.ROOT / script
    assert path.stat().st_mode & stat.S_IXUSR
    assert "set -euo pipefail" in path.read_text()
    subprocess.run(["bash", "-n", path], check=True)


def test_ci_runs_what_a_newcomer_runs():
    lines = (tree.ROOT / ".ci/run").read_text().splitlines()
    commands = [
        line for line in lines if line and not line.startswith(("#", "set", "cd", "export"))
    ]
    assert commands == ["make servers", "make test"]


def test_pre_commit_fetches_no_hook():
    text = (tree.ROOT / ".pre-commit-config.yaml").read_text()
    assert set(re.findall(r"repo: (\S+)", text)) == {"local"}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A checkout with nothing installed."""
    for name in ("scripts/install", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(tree.ROOT / name, tmp_path / name)
    return tmp_path


def install(clone: Path, python: str) -> subprocess.CompletedProcess[str]:
    """Run the installation with a `python` that is a shell script."""
    fake = clone / "python3"
    fake.write_text(f"#!/bin/sh\n{python}\n")
    fake.chmod(0o755)
    # Only this Python can be found: the shell's tools come through links, not through its folders.
    for tool in ("bash", "dirname", "cat", "cksum", "uname", "env"):
        (clone / tool).symlink_to(shutil.which(tool) or tool)
    return subprocess.run(
        [clone / "scripts/install"],
        env={"PATH": str(clone), "PYTHON": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_missing_python_is_named(clone):
    done = install(clone, "exit 1")
    assert done.returncode == 69
    assert "sudo apt-get install -y python3 python3-venv libgomp1" in done.stderr


def test_missing_debian_packages_are_named_in_one_line(clone):
    done = install(clone, 'case "$2" in *ensurepip*|*libgomp*) exit 1;; esac')
    assert done.returncode == 69
    assert "sudo apt-get install -y python3-venv libgomp1\n" in done.stderr
    assert not (clone / ".venv").exists()


def test_only_what_is_missing_is_named(clone):
    done = install(clone, 'case "$2" in *libgomp*) exit 1;; esac')
    assert "sudo apt-get install -y libgomp1\n" in done.stderr


def test_the_demo_sees_no_cluster():
    shown = subprocess.run(
        ["make", "-n", "demo"], cwd=tree.ROOT, capture_output=True, text=True, check=True
    ).stdout
    hide = next(line for line in shown.splitlines() if "scripts/demo" in line).partition("PATH=")[0]
    variables = {
        "NOMAD_ADDR": "x",
        "CONSUL_HTTP_ADDR": "x",
        "VAULT_ADDR": "x",
        "PENSTOCK_STORE": "x",
    }
    seen = subprocess.run(
        ["bash", "-c", f"{hide} env"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "PATH=" in seen
    assert not [name for name in variables if f"{name}=" in seen]
