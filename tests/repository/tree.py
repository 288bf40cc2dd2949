"""The files of the checkout, as the tests of the repository read them."""

from __future__ import annotations

import ast
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("penstock", "registry", "usecases", "pipelines", "jobs", "serving")


@cache
def files() -> tuple[Path, ...]:
    """Every file that is tracked or would be: what git lists and does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = (ROOT / name for name in listed.split("\0") if name)
    return tuple(sorted(path for path in found if path.is_file()))


@cache
def texts() -> dict[Path, str]:
    """The files that are text, with their content."""
    found = {}
    for path in files():
        try:
            found[path] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return found


def product() -> dict[Path, str]:
    """The Python modules that are shipped."""
    return {
        path: text
        for path, text in texts().items()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in PACKAGES
    }


def markdown() -> dict[Path, str]:
    """The pages of documentation."""
    return {path: text for path, text in texts().items() if path.suffix == ".md"}


def functions(text: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a module."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def name_of(path: Path) -> str:
    """The path within the checkout, for messages."""
    return path.relative_to(ROOT).as_posix()


@cache
def pyproject() -> dict[str, Any]:
    """The parsed pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@cache
def make_targets() -> dict[str, str]:
    """The targets of the Makefile and the line of help that each has."""
    found = {}
    for line in (ROOT / "Makefile").read_text().splitlines():
        target, _, text = line.partition("## ")
        if text and ":" in target and not line.startswith("\t"):
            found[target.partition(":")[0]] = text
    return found
