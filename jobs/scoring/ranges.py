"""An object of a store as a file that is read in ranges, the next ones fetched ahead."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry.artifacts.store.protocol import Store

#: A range is fetched in requests of so many bytes, several at once.
PART = 8 << 20
REQUESTS = 4

Range = tuple[int, int]


class RangeFile(io.RawIOBase):
    """A read-only file over `key`. What `expect` named is in memory, or on its way, when read."""

    def __init__(self, store: Store, key: str) -> None:
        """Ask for the size. Raises NotFound, StoreError."""
        super().__init__()
        self._store, self._key = store, key
        self._size = store.size(key)
        self._at = 0
        self._pool = ThreadPoolExecutor(REQUESTS, thread_name_prefix="ranges")
        self._held: dict[Range, Future[bytes]] = {}

    def expect(self, ranges: Sequence[Range]) -> None:
        """Fetch these (first byte, end) and drop what was fetched before, unless it is among them."""
        parts = [part for one in ranges for part in _parts(*one)]
        held = {
            part: self._held.get(part) or self._pool.submit(self._fetch, part) for part in parts
        }
        for part, future in self._held.items():
            if part not in held:
                future.cancel()
        self._held = held

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def size(self) -> int:
        """Bytes of the object."""
        return self._size

    def read(self, count: int | None = -1, /) -> bytes:
        left = max(0, self._size - self._at)
        wanted = left if count is None or count < 0 else min(count, left)
        data = b"".join(self._pieces(self._at, self._at + wanted))
        self._at += len(data)
        return data

    def close(self) -> None:
        if not self.closed:
            self._pool.shutdown(cancel_futures=True)
            self._held = {}
        super().close()

    def _pieces(self, start: int, end: int) -> list[bytes]:
        """The bytes from `start` to `end`, out of what is held as far as it reaches."""
        found = []
        while start < end:
            part = next((part for part in self._held if part[0] <= start < part[1]), None)
            if part is None:
                found.append(self._fetch((start, end)))
                return found
            data = self._held[part].result()[start - part[0] : end - part[0]]
            found.append(data)
            start += len(data)
        return found

    def _fetch(self, part: Range) -> bytes:
        return self._store.get_range(self._key, *part)


def _parts(first: int, end: int) -> list[Range]:
    return [(start, min(start + PART, end)) for start in range(first, end, PART)]
