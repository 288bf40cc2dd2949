"""A model file from elsewhere, committed like any artifact."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from penstock.opened import Registry
from registry.artifacts.attempt import (
    Attempt,
    AttemptEnd,
    JobSpec,
    RecipeRecord,
    attempts_of,
    close_attempt,
    open_attempt,
)
from registry.artifacts.commit import Output, commit
from registry.artifacts.fetch import find_manifest
from registry.artifacts.files import digest_file
from registry.artifacts.key import Recipe
from registry.artifacts.layout import manifest_path
from registry.artifacts.manifest import Manifest, Reference
from registry.artifacts.provenance import producer_of, refuse_dirty_production, running_code
from registry.artifacts.retract import read_epochs
from registry.errors import NotFound
from registry.models.bundle import Bundle
from registry.models.importing import import_model

#: Raised when the same file would become a different bundle.
VERSION = 1
#: Seconds that reading and committing may take.
TIMEOUT = 900.0


@dataclass(frozen=True)
class Imported:
    """The artifact, and whether this call made it."""

    reference: Reference
    manifest: Manifest
    created: bool
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def import_file(
    registry: Registry, file: Path, name: str, *, sample: Path | None, outputs: Sequence[str]
) -> Imported:
    """Commit the model in `file` as an artifact of the family `model`, if it is not there yet.

    Raises:
        NotFound: there is no such file.
        BadData: it is no model of a known kind, or the sample does not fit it.
        Refused: uncommitted code would write to prod.
    """
    refuse_dirty_production(registry.settings.environment, running_code())
    recipe = _recipe(registry, file, name, sample, outputs)
    with tempfile.TemporaryDirectory(prefix="penstock-import-") as folder:
        bundle = import_model(file, Path(folder), sample, outputs=outputs or None)
        standing = find_manifest(registry.store, recipe)
        manifest = standing or _commit(registry, recipe, bundle)
    return Imported(
        manifest.reference(manifest_path(recipe)),
        manifest,
        standing is None,
        bundle.signature.names,
        tuple(output.name for output in bundle.signature.outputs),
    )


def _recipe(
    registry: Registry, file: Path, name: str, sample: Path | None, outputs: Sequence[str]
) -> Recipe:
    externals = {"file": _digest(file)}
    if sample:
        externals["sample"] = _digest(sample)
    parameters = {"source": "import", "outputs": list(outputs)}
    recipe = Recipe("model", name, VERSION, parameters, externals=externals, absent={"outputs": []})
    return recipe.at_epoch(read_epochs(registry.store).get(recipe.key, 0))


def _digest(file: Path) -> str:
    if not file.is_file():
        raise NotFound(f"there is no file {file}", "", "Check the path.")
    return digest_file(file)


def _commit(registry: Registry, recipe: Recipe, bundle: Bundle) -> Manifest:
    started = time.time()
    attempt = _attempt(registry, recipe)
    finished = time.time()
    output = Output(
        bundle.folder,
        timings={"started": started, "finished": finished},
        signature=msgspec.to_builtins(bundle.signature),
    )
    committed = commit(registry.store, attempt, output, producer_of(attempt))
    end = AttemptEnd("committed", "", 0, {"wall_s": finished - started}, time.time())
    close_attempt(registry.store, attempt, end, b"")
    return committed.manifest


def _attempt(registry: Registry, recipe: Recipe) -> Attempt:
    """The record of this import. Two imports of one file may share it: the manifest decides."""
    past = attempts_of(registry.store, recipe.key)
    return open_attempt(
        registry.store,
        JobSpec("import", RecipeRecord.of(recipe), {}),
        past[-1].number + 1 if past else 1,
        size="s",
        runner="command",
        host=socket.gethostname(),
        run="",
        timeout=TIMEOUT,
    )
