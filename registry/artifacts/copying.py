"""Copying artifacts from one place to another by their digests: nothing arrives that differs.

The order is that of a commit: data first, verified, then the manifest, created if absent. A copy
that was cut short is completed by doing it again.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from registry.artifacts.fetch import dereference
from registry.artifacts.files import verify_file, verify_stored
from registry.artifacts.manifest import File, Manifest, Reference, decode
from registry.artifacts.records import encode_record
from registry.artifacts.store.once import create_file_once, create_once
from registry.artifacts.store.protocol import Store
from registry.crashpoints import crashpoint
from registry.errors import Refused


def copy_artifact(source: Store, target: Store, reference: Reference) -> Reference:
    """Have in `target` the artifact that `reference` names in `source`; how it is named there.

    Where the same recipe was made in `target` with the same files, that one stands.

    Raises:
        NotFound, Corrupt: it is not in `source`, or damaged there.
        Refused: `target` has other files under the same key.
    """
    manifest = dereference(source, reference)
    for file in manifest.files:
        _copy_file(source, target, manifest.data, file)
    crashpoint("copy.before_manifest")
    created = create_once(target, reference.path, encode_record(manifest))
    crashpoint("copy.after_manifest")
    standing = decode(created.data, reference.path, manifest.key)
    if standing.content != manifest.content:
        raise Refused(
            f"{target.url} has other files as {manifest.key[:16]}",
            "the same recipe was made there with another result",
            f"`penstock reproduce {manifest.key[:16]}` tells what differs.",
        )
    return standing.reference(reference.path)


def _copy_file(source: Store, target: Store, prefix: str, file: File) -> None:
    """One file, verified before it is sent and after it has arrived."""
    local = source.local_path(prefix + file.path)
    with tempfile.TemporaryDirectory(prefix="penstock-copy-") as folder:
        if local is None:
            local = Path(folder) / "file"
            source.download(prefix + file.path, local)
        verify_file(local, file, prefix)
        create_file_once(target, prefix + file.path, local)
    verify_stored(target, prefix, file)


def copy_record(target: Store, path: str, manifest: Manifest) -> None:
    """Keep a manifest in `target` at `path`, if it is not there yet."""
    create_once(target, path, encode_record(manifest))
