"""Small artifacts for tests: a recipe, an attempt, an output, a commit."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry.artifacts.attempt import Attempt, JobSpec, RecipeRecord, open_attempt
from registry.artifacts.commit import Committed, Output, commit, new_writer
from registry.artifacts.key import Recipe
from registry.artifacts.manifest import Producer, Reference
from registry.artifacts.store import Store

FILES: Mapping[str, bytes] = {"model.txt": b"tree\n" * 40, "nested/signature.json": b"{}"}


def a_recipe(**changes: Any) -> Recipe:
    fields: dict[str, Any] = {
        "family": "model",
        "name": "flights",
        "version": 1,
        "parameters": {"rate": 0.1, "leaves": 31, "seed": 7},
        "externals": {"flights": "snapshot-1"},
        "date": "2013-06-30",
    }
    return Recipe(**{**fields, **changes})


def an_attempt(
    store: Store, recipe: Recipe | None = None, number: int = 1, **changes: Any
) -> Attempt:
    spec = JobSpec("train", RecipeRecord.of(recipe or a_recipe()), changes.pop("references", {}))
    about: dict[str, Any] = {
        "size": "s", "runner": "stub", "host": "here", "run": "run-1", "timeout": 3600.0,
    }  # fmt: skip
    return open_attempt(store, spec, number, **{**about, **changes})


def a_producer(attempt: Attempt, **changes: Any) -> Producer:
    fields: dict[str, Any] = {
        "run": attempt.run,
        "attempt": attempt.number,
        "writer": new_writer(attempt),
        "host": "here",
        "commit": "0" * 40,
        "dirty": False,
        "lock": "",
        "python": "3.11",
    }
    return Producer(**{**fields, **changes})


def an_output(folder: Path, files: Mapping[str, bytes] = FILES, **about: Any) -> Output:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    folder.mkdir(parents=True, exist_ok=True)
    return Output(folder, **about)


def commit_one(
    store: Store,
    recipe: Recipe | None = None,
    files: Mapping[str, bytes] = FILES,
    **about: Any,
) -> Committed:
    """Attempt 1 at `recipe`, committed with `files`."""
    with tempfile.TemporaryDirectory() as folder:
        attempt = an_attempt(store, recipe)
        return commit(store, attempt, an_output(Path(folder), files, **about), a_producer(attempt))


def a_reference(number: int = 1) -> Reference:
    """A reference to an artifact that need not exist."""
    digit = f"{number:064x}"
    return Reference(f"manifests/model/flights/--{digit[:16]}.json", digit, digit, digit)
