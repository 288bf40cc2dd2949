"""An artifact of the store, as seen from a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from registry.artifacts.fetch import fetch
from registry.artifacts.manifest import Manifest, Reference
from registry.artifacts.store import Store, open_environment
from registry.errors import BadData, UsageError
from registry.names import find_artifact, find_named, is_key
from registry.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = ".parquet"


@dataclass(frozen=True)
class Artifact:
    """One artifact: its manifest at once, its files when they are asked for."""

    reference: Reference
    manifest: Manifest
    store: Store
    cache: Path

    @property
    def key(self) -> str:
        """The recipe key, 64 hex digits."""
        return self.manifest.key

    @cached_property
    def path(self) -> Path:
        """A folder with the files, every digest verified. Treat it as read-only.

        Raises:
            NotFound, Corrupt: a file is gone or damaged.
        """
        return fetch(self.store, self.reference, self.cache)

    def table(self, name: str | None = None) -> pa.Table:
        """The Parquet file `name` as an Arrow table; without a name, the only one there is.

        Raises:
            UsageError: there is no such file, or there are several and none was named.
            BadData: it is not Parquet.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.path / self._table_file(name)
        try:
            return pq.read_table(path)
        except (pa.ArrowException, OSError) as error:
            raise BadData(f"{path} cannot be read as Parquet", str(error)) from None

    def _table_file(self, name: str | None) -> str:
        tables = [file.path for file in self.manifest.files if file.path.endswith(TABLE)]
        wanted = tables if name is None else [t for t in tables if t in (name, name + TABLE)]
        if len(wanted) == 1:
            return wanted[0]
        raise UsageError(
            f"{self.key[:16]} has {'no' if not wanted else 'more than one'} table"
            + (f" {name!r}" if name else ""),
            f"its tables are: {', '.join(tables) or 'none'}",
            "Name one of them.",
        )

    def __repr__(self) -> str:
        manifest = self.manifest
        day = f" {manifest.date}" if manifest.date else ""
        return f"<{manifest.family} {manifest.name}{day} {self.key[:16]}>"


def open_artifact(key: str, *, store: str | None, environment: str | None) -> Artifact:
    """See `penstock.artifact`."""
    settings = Settings.load(store=store, environment=environment)
    root = open_environment(settings)
    found = find_artifact(root, key) if is_key(key) or "@" not in key else None
    reference, manifest = found or find_named(settings, root, key)
    return Artifact(reference, manifest, root, cache_of(settings))


def cache_of(settings: Settings) -> Path:
    """Where files of remote stores are kept on this machine."""
    return Path(settings.var) / "cache" / "artifacts"
