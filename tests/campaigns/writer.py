"""A process that makes one artifact and publishes it: what crash campaigns kill.

The store of a round lies in its folder below `store`, the heads below `heads`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path

from registry import crashpoints
from registry.aliases import Aliases, Decision
from registry.aliases.decision import DecisionLog
from registry.aliases.heads.files import FileHeads
from registry.artifacts.commit import Committed, commit
from registry.artifacts.store.local import LocalStore
from tests.registry.makers import a_producer, an_attempt, an_output

ABOUT = ("flights", "champion")


def store_of(folder: Path) -> LocalStore:
    """The store of one round."""
    return LocalStore(folder / "store")


def aliases_of(folder: Path) -> Aliases:
    """The aliases of one round."""
    return Aliases(DecisionLog(store_of(folder)), FileHeads(folder / "heads"))


def files_of(writer: str) -> dict[str, bytes]:
    """What `writer` makes: every file tells who wrote it, so that a mixture would show."""
    mark = f"{writer}\n".encode()
    return {"model.txt": mark * 3000, "nested/signature.json": mark}


def write(folder: Path, writer: str, number: int) -> tuple[Committed, Decision]:
    """One attempt, its commit, and the publication of what stands."""
    store = store_of(folder)
    attempt = an_attempt(store, number=number, run=writer)
    output = an_output(folder / f"out-{writer}", files_of(writer))
    done = commit(store, attempt, output, a_producer(attempt, host=writer))
    decision = aliases_of(folder).settle(
        ABOUT, done.reference, "publish", who=writer, why="it is there"
    )
    return done, decision


def run(env: Mapping[str, str], folder: Path, writer: str) -> None:
    """What a process does: attempt 1, with the crash point that `env` names."""
    os.environ.update(env)
    importlib.reload(crashpoints)  # It reads the environment when it is loaded.
    write(folder, writer, 1)
