"""Which code is running: git commit, whether the tree is dirty, digest of the lock file.

Recorded in manifests and runs, never part of a key. An image without a git checkout passes
PENSTOCK_COMMIT, set when it was built.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import platform
import re
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import msgspec

from registry.artifacts.attempt import Attempt
from registry.artifacts.commit import new_writer
from registry.artifacts.files import digest_file
from registry.artifacts.manifest import Producer
from registry.errors import Refused

#: What ends the name of a requirement.
_NAME = re.compile(r"[^\w.-]")
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Code:
    """The running code: `commit` is "unknown" outside a checkout, `lock` is empty without one."""

    commit: str
    dirty: bool
    lock: str


@functools.cache
def running_code() -> Code:
    """The code of this process, looked up once."""
    lock = _ROOT / "requirements.lock"
    digest = digest_file(lock) if lock.is_file() else ""
    commit = os.environ.get("PENSTOCK_COMMIT") or _git("rev-parse", "HEAD")
    if not commit:
        return Code("unknown", False, digest)
    return Code(commit, not os.environ.get("PENSTOCK_COMMIT") and _is_dirty(), digest)


def _is_dirty() -> bool:
    """Whether a file differs from the commit, or source that runs is in no commit at all.

    When git cannot tell, the tree counts as dirty.
    """
    status = _git("status", "--porcelain", "--untracked-files=all")
    if status is None:
        return True
    return any(not line.startswith("??") or line.endswith(".py") for line in status.splitlines())


def _git(*words: str) -> str | None:
    # `status` would write the index on the side, and leave its lock behind if it were killed.
    command = ["git", "--no-optional-locks", "-C", str(_ROOT), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def refuse_dirty_production(environment: str, code: Code) -> None:
    """Raise Refused when uncommitted code would write to `prod`."""
    if environment.partition("/")[0] == "prod" and (code.dirty or code.commit == "unknown"):
        raise Refused(
            "this checkout may not write to prod",
            "its code is not the content of a commit, so nobody could reproduce the result",
            "Commit the changes, or use another PENSTOCK_ENVIRONMENT.",
        )


def producer_of(attempt: Attempt, device: str = "") -> Producer:
    """Who this process is, as the producer of what `attempt` makes, on `device` if one was asked."""
    code = running_code()
    return Producer(
        run=attempt.run,
        attempt=attempt.number,
        writer=new_writer(attempt),
        host=socket.gethostname(),
        commit=code.commit,
        dirty=code.dirty,
        lock=code.lock,
        python=platform.python_version(),
        runner=attempt.runner,
        allocation=os.environ.get("NOMAD_ALLOC_ID", ""),
        libraries=dict(libraries()),
        device=device or msgspec.UNSET,
    )


@functools.cache
def libraries() -> dict[str, str]:
    """The versions of the libraries that the project needs, as they are installed here."""
    found = {}
    for text in importlib.metadata.requires("penstock") or ():
        name = _NAME.split(text, 1)[0]
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
