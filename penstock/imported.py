"""A model file from elsewhere, or a stage alone, committed like any artifact."""

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
from registry.models.building import build_identity
from registry.models.bundle import Bundle
from registry.models.importing import import_model
from registry.models.stage import newest_stage

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


@dataclass(frozen=True)
class Source:
    """What a model is made of: a `file` or, without one, what the stage `pre` makes.

    `sample` is a Parquet file with rows. `outputs` names the outputs. `pre` and `post` are the stages
    before and after the model, as `usecase/name`; empty: none.
    """

    file: Path | None
    sample: Path | None = None
    outputs: Sequence[str] = ()
    pre: str = ""
    post: str = ""


def import_file(registry: Registry, source: Source, name: str) -> Imported:
    """Commit the model in `source` as an artifact of the family `model`, if it is not there yet.

    Raises:
        NotFound: there is no such file.
        BadData: it is no model of a known kind, or the sample or a stage does not fit it.
        Refused: uncommitted code would write to prod.
    """
    refuse_dirty_production(registry.settings.environment, running_code())
    recipe = _recipe(registry, source, name)
    with tempfile.TemporaryDirectory(prefix="penstock-import-") as folder:
        bundle = _build(source, Path(folder))
        standing = find_manifest(registry.store, recipe)
        manifest = standing or _commit(registry, recipe, bundle)
    return Imported(
        manifest.reference(manifest_path(recipe)),
        manifest,
        standing is None,
        bundle.public.names,
        tuple(output.name for output in bundle.public.outputs),
    )


def _build(source: Source, folder: Path) -> Bundle:
    if source.file is None:
        return build_identity(folder, source.pre, source.post)
    return import_model(
        source.file, folder, source.sample, outputs=source.outputs or None,
        pre=source.pre, post=source.post,
    )  # fmt: skip


def _recipe(registry: Registry, source: Source, name: str) -> Recipe:
    files = {"file": source.file, "sample": source.sample}
    externals = {what: _digest(file) for what, file in files.items() if file}
    parameters = {
        "source": "import",
        "outputs": list(source.outputs),
        "pre": _version_of(source.pre),
        "post": _version_of(source.post),
    }
    absent = {"outputs": [], "pre": "", "post": ""}
    recipe = Recipe("model", name, VERSION, parameters, externals=externals, absent=absent)
    return recipe.at_epoch(read_epochs(registry.store).get(recipe.key, 0))


def _version_of(stage: str) -> str:
    return f"{stage}@{newest_stage(stage).version}" if stage else ""


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
