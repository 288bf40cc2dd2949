"""The import contracts hold, catch what they should, and are true of the running process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository import tree

HEAVY = ("catboost", "lightgbm", "matplotlib", "numpy", "pandas", "pyarrow", "scipy")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter over the packages of `folder`."""
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--no-cache", "--config", folder / "pyproject.toml"],
        cwd=folder,
        # The folder comes first, or the packages of this checkout would be read instead.
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_contracts_hold():
    done = lint(tree.ROOT)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The packages as empty modules, with the contracts of this project."""
    contracts = (tree.ROOT / "pyproject.toml").read_text().partition("[tool.importlinter]")
    (tmp_path / "pyproject.toml").write_text("".join(contracts[1:]))
    sources = [
        source
        for contract in tree.pyproject()["tool"]["importlinter"]["contracts"]
        for source in contract.get("source_modules", [])
    ]
    for name in (*tree.PACKAGES, *sources, "registry.models", "usecases.flights"):
        folder = tmp_path / name.replace(".", "/")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
    (tmp_path / "registry" / "models" / "golden.py").write_text("import numpy\n")
    return tmp_path


def test_the_model_itself_keeps_the_contracts(model):
    done = lint(model)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "imports"),
    [
        ("jobs", "pipelines"),
        ("jobs", "serving"),
        ("pipelines", "jobs"),
        ("pipelines", "serving"),
        ("serving", "jobs"),
        ("serving", "pipelines"),
        ("registry", "usecases"),
        ("registry", "jobs"),
        ("usecases.flights", "jobs"),
        ("penstock", "jobs"),
        ("penstock", "usecases.flights"),
        ("jobs", "luigi"),
        ("serving", "luigi"),
        ("pipelines", "pyarrow"),
        ("pipelines", "registry.models.golden"),
        ("registry.settings", "pandas"),
        ("registry.artifacts", "numpy"),
    ],
)
def test_a_violation_is_caught(model, module, imports):
    (model / module.replace(".", "/") / "wrong.py").write_text(f"import {imports}\n")
    done = lint(model)
    assert done.returncode == 1, done.stdout
    assert "wrong" in done.stdout


def test_the_process_of_a_pipeline_stays_small():
    code = f"""
import importlib, pkgutil, sys
names = ["pipelines", "registry.artifacts", "registry.aliases"]
for name in names:
    package = importlib.import_module(name)
    for found in pkgutil.walk_packages(package.__path__, name + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
print(*sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tree.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stdout.split()
