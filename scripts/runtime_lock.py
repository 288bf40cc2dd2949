"""Prints the part of requirements.lock that the product itself needs, for an image.

The lock covers the developers' tools too. Which package is there for whom is in its comments: an
entry stays if the project, or another entry that stays, asks for it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "penstock (pyproject.toml)"
#: Build what comes as source; removed from the image with the stage that builds.
BUILD = ("packaging", "setuptools", "wheel")


def entries(lock: str) -> list[tuple[str, str]]:
    """The name and the text of each entry, in the order of the lock."""
    blocks = re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)
    return [(block.partition("==")[0], block) for block in blocks if "==" in block]


def asked_by(block: str) -> set[str]:
    """Who asks for an entry, as its `# via` comment says."""
    _, _, via = block.partition("# via")
    return {line.strip(" #") for line in via.splitlines() if line.strip(" #")}


def runtime(lock: str) -> str:
    """The entries that the project asks for, directly or through others."""
    found = entries(lock)
    kept: set[str] = {PROJECT}
    while more := {name for name, block in found if asked_by(block) & kept} - kept:
        kept |= more
    return "".join(block for name, block in found if name in kept)


def build(lock: str) -> str:
    """The entries of the tools that build, which are installed first."""
    return "".join(block for name, block in entries(lock) if name in BUILD)


if __name__ == "__main__":
    text = (ROOT / "requirements.lock").read_text()
    print(build(text) if "--build" in sys.argv[1:] else runtime(text), end="")
