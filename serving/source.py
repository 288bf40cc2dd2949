"""Where artifacts come from: this machine's copy, or else the store.

A reference holds the digest of the manifest, and that the digests of the files. So a copy that
agrees with them needs no store: the service starts and goes back while the store is away.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from registry.artifacts.fetch import dereference, fetch
from registry.artifacts.files import is_intact
from registry.artifacts.manifest import Manifest, Reference, decode
from registry.artifacts.store import Store, open_environment
from registry.errors import BadData, ConfigError, Refused, StoreError, Temporary
from registry.logs import get_logger
from registry.settings import Settings
from serving.cache import Cache

log = get_logger(__name__)


class Source:
    """The artifacts of one environment, with copies below `cache`."""

    def __init__(self, settings: Settings, cache: Path) -> None:
        self._settings = settings
        self._cache = cache
        self.copies = Cache(cache, settings.serving_cache_keep)
        self._store: Store | None = None

    def open(self) -> None:
        """Reach for the store, so that a setting that cannot be used is told at once.

        Raises:
            ConfigError, Refused: the store cannot be used. One that is away is tried later.
        """
        try:
            self.store()
        except (ConfigError, Refused):
            raise
        except (StoreError, Temporary) as error:
            log.warning("the store is away", reason=str(error))

    def fetch(self, reference: Reference) -> Path:
        """A folder with the files of the artifact, every digest verified just now.

        Raises:
            NotFound, Corrupt, StoreError: see `registry.artifacts.fetch`.
            StoreUnwritable: the disk is too full for it.
        """
        kept = self._kept(reference)
        if kept is not None:
            self.copies.touch(self._manifest_path(reference))
            return kept
        store = self.store()
        if store.local_path(reference.path) is not None:
            return fetch(store, reference, self._cache)
        files = dereference(store, reference).files
        self.copies.make_room(sum(file.size for file in files))
        folder = fetch(store, reference, self._cache)
        self._keep(reference, store.get(reference.path))
        self.copies.trim()
        return folder

    def store(self) -> Store:
        """The store; opened when it is first needed. Raises StoreError, Temporary."""
        if self._store is None:
            self._store = open_environment(self._settings)
        return self._store

    def _manifest_path(self, reference: Reference) -> Path:
        return self._cache / "manifests" / f"{reference.version}.json"

    def _kept(self, reference: Reference) -> Path | None:
        """The copy, if there is one and every byte of it is as promised."""
        path = self._manifest_path(reference)
        try:
            manifest = decode(path.read_bytes(), str(path), reference.key)
            folder = self._cache / manifest.content
            whole = _is_meant(manifest, reference) and all(
                is_intact(folder / file.path, file) for file in manifest.files
            )
        except (OSError, BadData):
            return None
        return folder if whole else None

    def _keep(self, reference: Reference, manifest: bytes) -> None:
        path = self._manifest_path(reference)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".manifest-")
            with os.fdopen(descriptor, "wb") as file:
                file.write(manifest)
            Path(name).replace(path)
        except OSError as error:
            log.warning("manifest not kept", reason=str(error))


def _is_meant(manifest: Manifest, reference: Reference) -> bool:
    return (manifest.content, manifest.version) == (reference.content, reference.version)
