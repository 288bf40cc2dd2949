"""The lock of an image: what the product needs, and no tool of its developers."""

from __future__ import annotations

import re
import subprocess
import sys

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.repository import tree


def printed(*words: str) -> str:
    """What the script prints."""
    command = [sys.executable, "scripts/runtime_lock.py", *words]
    return subprocess.run(command, cwd=tree.ROOT, capture_output=True, text=True, check=True).stdout


def names(lock: str) -> set[str]:
    """The packages of a lock."""
    return set(re.findall(r"^([a-z0-9][a-z0-9._-]*)==", lock, re.MULTILINE))


def required(group: list[str]) -> set[str]:
    """The packages that a list of requirements names."""
    return {canonicalize_name(Requirement(text).name) for text in group}


def test_it_has_what_the_product_needs():
    found = names(printed())
    assert required(tree.pyproject()["project"]["dependencies"]) <= found
    assert {"pandas", "tornado", "kiwisolver"} <= found  # asked for by those


def test_it_has_no_tool_of_developers():
    tools = required(tree.pyproject()["dependency-groups"]["dev"])
    # Luigi asks for python-daemon, and that for setuptools.
    assert names(printed()) & tools <= {"setuptools"}


def test_every_entry_keeps_its_hashes():
    lock = printed()
    assert lock.count("==") == len(re.findall(r"==.*\\\n    --hash=sha256:", lock))
    assert (tree.ROOT / "requirements.lock").read_text().count(lock.partition("\n")[0]) == 1


def test_what_builds_is_small():
    assert names(printed("--build")) == {"packaging", "setuptools", "wheel"}
