"""A small store with what is held, what is not and what was left; and a collection over it."""

from __future__ import annotations

import importlib
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry import crashpoints
from registry.artifacts.collect import Roots, collect, find_garbage, plan_collection
from registry.artifacts.collection import pending
from registry.artifacts.commit import commit
from registry.artifacts.fetch import read_manifest
from registry.artifacts.layout import data_prefix
from registry.artifacts.store import Store, open_store
from tests.registry.makers import a_producer, a_recipe, an_attempt, an_output

DAY = 86400.0
#: Long after every deadline of the store's attempts.
NOW = time.time() + 30 * DAY


def hold(*paths: str) -> Roots:
    """Only these are held."""
    return lambda held, now: set(paths)


def build(store: Store) -> dict[str, Any]:
    """Features, a model of them, another family's artifact, and files of attempts that lost."""
    features = a_recipe(family="features", parameters={})
    made: dict[str, Any] = {"attempts": []}
    for name, recipe, inputs in (
        ("features", features, {}),
        ("model", a_recipe(inputs={"features": features.key}), {"features": "features"}),
        ("other", a_recipe(name="other"), {}),
    ):
        references = {role: made[which].reference for role, which in inputs.items()}
        attempt = an_attempt(store, recipe, references=references)
        with tempfile.TemporaryDirectory() as folder:
            output = an_output(Path(folder))
            made[name] = commit(store, attempt, output, a_producer(attempt))
        made["attempts"].append(attempt)
        prefix = data_prefix(recipe, f"0001-{'0' * 11}{len(made)}")
        store.create(f"{prefix}model.txt", b"of a loser")
    return made


def run(env: Mapping[str, str], folder: Path, held: str) -> None:
    """What a process does: plan what is not planned, then, a day later, delete what is due."""
    os.environ.update(env)
    importlib.reload(crashpoints)  # It reads the environment when it is loaded.
    store = open_store(str(folder / "store"))
    garbage = find_garbage(store, hold(held), NOW)
    if garbage.artifacts or garbage.orphans:
        plan_collection(store, "plan", garbage, "me", NOW, DAY)
    for plan in pending(store):
        collect(store, plan, hold(held), "me", plan.due)


def check_whole(store: Store) -> None:
    """Every artifact that can be seen has all of its files."""
    for path in store.list("manifests/"):
        manifest = read_manifest(store, path)
        for file in manifest.files:
            assert store.size(manifest.data + file.path) == file.size
