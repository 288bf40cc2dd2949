"""Commit: data under the writer's own prefix, verified; then the manifest, created if absent.

The first manifest wins. A loser reads the winner's and succeeds: its own files are left for
collection. A writer never deletes, and nothing is renamed or overwritten, so a crash at any point
leaves either no artifact or a whole one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.artifacts import layout
from registry.artifacts.attempt import Attempt
from registry.artifacts.files import list_files, verify_stored
from registry.artifacts.manifest import (
    File,
    Manifest,
    Producer,
    Reference,
    content_digest,
    decode,
    metrics_of,
)
from registry.artifacts.records import encode_record
from registry.artifacts.store.once import create_file_once, create_once, write_id
from registry.artifacts.store.protocol import Store
from registry.crashpoints import crashpoint
from registry.errors import Temporary


@dataclass(frozen=True)
class Output:
    """What a step made: the folder with its files, and what the manifest tells about it."""

    folder: Path
    metrics: Mapping[str, float] = field(default_factory=dict)
    resources: Mapping[str, float] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    rows: int | None = None
    signature: dict[str, Any] | None = None


@dataclass(frozen=True)
class Committed:
    """The manifest that stands, and whether this writer put it there."""

    manifest: Manifest
    path: str
    mine: bool

    @property
    def reference(self) -> Reference:
        """How others name the artifact."""
        return self.manifest.reference(self.path)


def new_writer(attempt: Attempt) -> str:
    """A name for one execution of `attempt`; a job may run twice, even at once."""
    return f"{attempt.number:04d}-{write_id()[:12]}"


def commit(
    store: Store,
    attempt: Attempt,
    output: Output,
    producer: Producer,
    clock: Callable[[], float] = time.time,
) -> Committed:
    """Commit `output` as the artifact that `attempt` is for.

    Raises:
        Temporary: the deadline of the attempt has passed; nothing was committed.
        StoreUnwritable, StoreError: the store failed; nothing was committed.
        BadData: the output is empty or holds something other than plain files.
    """
    prefix = layout.data_prefix(attempt.spec.recipe.recipe(), producer.writer)
    files = list_files(output.folder)
    crashpoint("commit.before_data")
    _upload(store, prefix, output.folder, files)
    crashpoint("commit.after_data")
    for file in files:
        verify_stored(store, prefix, file)
    crashpoint("commit.after_verify")
    _check_deadline(attempt, clock())
    manifest = _manifest(attempt, output, producer, prefix, files)
    return _create_manifest(store, manifest, attempt)


def _upload(store: Store, prefix: str, folder: Path, files: list[File]) -> None:
    for number, file in enumerate(files):
        if number:
            crashpoint("commit.between_files")
        create_file_once(store, prefix + file.path, folder / file.path)


def _check_deadline(attempt: Attempt, now: float) -> None:
    if now > attempt.deadline:
        raise Temporary(
            f"attempt {attempt.number} of {attempt.key[:16]} may no longer commit",
            f"its deadline passed {now - attempt.deadline:.0f} s ago",
            "Run again; raise PENSTOCK_JOB_TIMEOUT if the step needs longer.",
        )


def _manifest(
    attempt: Attempt, output: Output, producer: Producer, prefix: str, files: list[File]
) -> Manifest:
    recipe = attempt.spec.recipe
    seed = recipe.parameters.get("seed")
    return Manifest(
        key=attempt.key,
        family=recipe.family,
        name=recipe.name,
        step_version=recipe.version,
        parameters=recipe.parameters,
        inputs=dict(recipe.inputs),
        references=attempt.spec.inputs(),
        externals=recipe.externals,
        date=recipe.date,
        epoch=recipe.epoch,
        data=prefix,
        files=files,
        content=content_digest(files),
        metrics=metrics_of(output.metrics),
        producer=producer,
        resources=metrics_of(output.resources),
        timings=metrics_of(output.timings),
        seed=seed if isinstance(seed, int) else None,
        rows=output.rows,
        signature=output.signature,
    ).sealed()


def _create_manifest(store: Store, manifest: Manifest, attempt: Attempt) -> Committed:
    path = layout.manifest_path(attempt.spec.recipe.recipe())
    created = create_once(store, path, encode_record(manifest))
    crashpoint("commit.after_manifest")
    standing = decode(created.data, path, attempt.key)
    return Committed(standing, path, created.mine)
