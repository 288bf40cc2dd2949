"""A store in memory: for tests, dry runs, and measurements without a disk."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from registry.artifacts.store.protocol import AlreadyExists, Store, check_object_key, check_prefix
from registry.errors import NotFound

_named: dict[str, MemoryStore] = {}
_named_lock = threading.Lock()


def named_memory(name: str) -> MemoryStore:
    """The store of that name in this process, made at its first use."""
    with _named_lock:
        return _named.setdefault(name, MemoryStore(name))


class MemoryStore:
    """A dictionary as a store; see `Store` for the methods. Shared between threads."""

    def __init__(
        self,
        name: str = "",
        objects: dict[str, bytes] | None = None,
        lock: threading.Lock | None = None,
        prefix: str = "",
    ) -> None:
        self._name = name
        self._objects: dict[str, bytes] = {} if objects is None else objects
        self._lock = lock or threading.Lock()
        self._prefix = prefix

    @property
    def url(self) -> str:
        return f"memory://{self._name}" + (f"/{self._prefix}" if self._prefix else "")

    def under(self, prefix: str) -> Store:
        below = self._prefix + check_object_key(prefix.strip("/")) + "/"
        return MemoryStore(self._name, self._objects, self._lock, below)

    def create(self, key: str, data: bytes) -> None:
        full = self._prefix + check_object_key(key)
        with self._lock:
            if full in self._objects:
                raise AlreadyExists(f"{key} exists already")
            self._objects[full] = bytes(data)

    def create_from(self, key: str, path: Path) -> None:
        self.create(key, path.read_bytes())

    def get(self, key: str) -> bytes:
        try:
            return self._objects[self._prefix + check_object_key(key)]
        except KeyError:
            raise NotFound(f"{key} is not in the store") from None

    def get_range(self, key: str, start: int, end: int) -> bytes:
        return self.get(key)[start:end]

    def download(self, key: str, path: Path) -> None:
        path.write_bytes(self.get(key))

    def size(self, key: str) -> int:
        return len(self.get(key))

    def list(self, prefix: str) -> Iterator[str]:
        full = self._prefix + check_prefix(prefix)
        with self._lock:
            found = [key for key in self._objects if key.startswith(full)]
        yield from sorted(key[len(self._prefix) :] for key in found)

    def delete(self, key: str) -> None:
        with self._lock:
            self._objects.pop(self._prefix + check_object_key(key), None)

    def local_path(self, key: str) -> Path | None:  # noqa: ARG002 (the protocol's signature)
        return None
