"""Reading artifacts: the manifest verified, then each file against its digest."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from registry.artifacts import layout
from registry.artifacts.files import is_intact, verify_file
from registry.artifacts.key import Recipe
from registry.artifacts.manifest import File, Manifest, Reference, decode
from registry.artifacts.store.protocol import Store
from registry.errors import Corrupt, NotFound, StoreUnwritable


def read_manifest(store: Store, path: str, key: str | None = None) -> Manifest:
    """The verified manifest at `path`. Raises NotFound, BadData, Corrupt."""
    return decode(store.get(path), path, key)


def read_ancestor(store: Store, path: str) -> Manifest:
    """The verified manifest at `path`, or the copy that a release left of it here.

    A release brings the manifests of what a model was made from, for lineage, without their files.

    Raises:
        NotFound, BadData, Corrupt.
    """
    try:
        return read_manifest(store, path)
    except NotFound:
        return read_manifest(store, layout.lineage_path(path))


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
        NotFound: the manifest is missing from the store.
        Corrupt, NotFound: bytes of the store differ from their digest, or a file is missing.
        StoreUnwritable: the cache cannot be written.
    """
    manifest = dereference(store, reference)
    folder = store.local_path(manifest.data.rstrip("/"))
    if folder is None:
        return _cached(store, manifest, cache / manifest.content)
    for file in manifest.files:
        verify_file(folder / file.path, file, manifest.data)
    return folder


def _cached(store: Store, manifest: Manifest, folder: Path) -> Path:
    """The files of `manifest` below `folder`; a copy that is missing or damaged is made anew."""
    try:
        for file in manifest.files:
            if not is_intact(folder / file.path, file):
                _download(store, manifest.data, file, folder / file.path)
    except OSError as error:
        raise StoreUnwritable(
            f"the cache {folder} could not be written",
            os.strerror(error.errno or 0),
            "Check the permissions and the free space of PENSTOCK_VAR, then run again.",
        ) from error
    return folder


def _download(store: Store, prefix: str, file: File, target: Path) -> None:
    """Put a verified copy at `target` by one rename: other processes may be reading there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=target.parent) as folder:
        incoming = Path(folder) / "file"
        store.download(prefix + file.path, incoming)
        verify_file(incoming, file, prefix)
        incoming.replace(target)
