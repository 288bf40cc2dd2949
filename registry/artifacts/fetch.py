"""Reading artifacts: the manifest verified, then each file against its digest."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from registry.artifacts import layout
from registry.artifacts.files import verify_file
from registry.artifacts.key import Recipe
from registry.artifacts.manifest import Manifest, Reference, decode
from registry.artifacts.store.protocol import Store
from registry.errors import Corrupt, NotFound


def read_manifest(store: Store, path: str, key: str | None = None) -> Manifest:
    """The verified manifest at `path`. Raises NotFound, BadData, Corrupt."""
    return decode(store.get(path), path, key)


def find_manifest(store: Store, recipe: Recipe) -> Manifest | None:
    """The verified manifest of `recipe`, or None if the artifact is not there."""
    path = layout.manifest_path(recipe)
    try:
        return read_manifest(store, path, recipe.key)
    except NotFound:
        return None


def dereference(store: Store, reference: Reference) -> Manifest:
    """The manifest that `reference` names, which must have the digests that it promises.

    Raises:
        NotFound: it is not in this store.
        Corrupt: another manifest stands in its place.
    """
    manifest = read_manifest(store, reference.path, reference.key)
    if (manifest.content, manifest.version) != (reference.content, reference.version):
        raise Corrupt(
            f"{reference.path} is not the artifact that was referred to",
            "its digests differ from those recorded in the reference",
            "Restore the object from a backup.",
        )
    return manifest


def fetch(store: Store, reference: Reference, cache: Path) -> Path:
    """A folder with the files of the artifact, every digest verified just now.

    A store in a folder is read in place; anything else is copied to `cache` once per content.

    Raises:
        NotFound: the manifest or a file is missing from the store.
        Corrupt: bytes differ from their digest; nothing is returned.
    """
    manifest = dereference(store, reference)
    folder = store.local_path(manifest.data.rstrip("/"))
    if folder is None:
        folder = cache / manifest.content
        if not folder.is_dir():
            _download(store, manifest, folder)
    for file in manifest.files:
        verify_file(folder / file.path, file, manifest.data)
    return folder


def _download(store: Store, manifest: Manifest, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    incoming = Path(tempfile.mkdtemp(prefix=".incoming-", dir=folder.parent))
    try:
        for file in manifest.files:
            target = incoming / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            store.download(manifest.data + file.path, target)
            verify_file(target, file, manifest.data)
        _move(incoming, folder)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _move(incoming: Path, folder: Path) -> None:
    try:
        os.rename(incoming, folder)
    except OSError:
        if not folder.is_dir():  # Otherwise another process was first with the same content.
            raise
