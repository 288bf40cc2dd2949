"""The contract of a store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from registry.errors import StoreError, UsageError

#: Control characters, and the halves of surrogate pairs that stand for undecodable file names.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class AlreadyExists(StoreError):
    """An object of this key is there already; nothing was written.

    The object may be the caller's own, written by a request whose reply was lost: read it back
    and compare before calling it somebody else's (`registry.artifacts.store.once`).
    """

    kind = "already-exists"


class Store(Protocol):
    """Objects under keys such as `manifests/model/flights/….json`.

    Every method may raise StoreError when the store cannot be reached, and every writing one
    StoreUnwritable when it refuses writes.
    """

    @property
    def url(self) -> str:
        """The address from which `open_store` opens this same place again."""

    def under(self, prefix: str) -> Store:
        """The same store seen from below `prefix`."""

    def create(self, key: str, data: bytes) -> None:
        """Store `data` durably under `key`, all or nothing. Raises AlreadyExists."""

    def create_from(self, key: str, path: Path) -> None:
        """Store the file at `path` durably under `key`. Raises AlreadyExists."""

    def get(self, key: str) -> bytes:
        """The object's bytes. Raises NotFound."""

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """The object's bytes from `start` up to `end`, which lie within it. Raises NotFound."""

    def download(self, key: str, path: Path) -> None:
        """Write the object to the new file `path` in bounded memory. Raises NotFound."""

    def size(self, key: str) -> int:
        """The object's size in bytes. Raises NotFound."""

    def list(self, prefix: str) -> Iterator[str]:
        """The keys that start with `prefix` (a whole folder: it ends in `/`), sorted."""

    def delete(self, key: str) -> None:
        """Remove the object for good; nothing happens where there is none.

        For `registry.artifacts.collect` alone: nobody else deletes.
        """

    def local_path(self, key: str) -> Path | None:
        """Where the object lies as a file of this machine, if the store keeps files."""


def check_object_key(key: str) -> str:
    """`key`, if it stays inside the store and every kind of store can hold it.

    Raises:
        UsageError: it is empty, absolute, climbs out with `..`, or holds control characters.
    """
    if not is_object_key(key):
        raise UsageError(f"{key!r} is not a key of a store", "it must be a plain relative path")
    return key


def is_object_key(key: str) -> bool:
    """Whether `key` stays inside the store and every kind of store can hold it."""
    plain = all(part not in ("", ".", "..") for part in key.split("/"))
    return plain and _UNPRINTABLE.search(key) is None


def check_prefix(prefix: str) -> str:
    """`prefix` as a folder that ends in `/`, or nothing for the whole store.

    Raises:
        UsageError: it leaves the store.
    """
    folder = prefix.strip("/")
    return check_object_key(folder) + "/" if folder else ""
