"""The payload memory of a gateway: where the bytes of requests wait for a stage.

One anonymous file for all of them, under a budget. Each stage process gets it once, by a descriptor
that it can only read; a row then says no more than where its bytes are. Bytes are copied once, when a
request is admitted, and lie there until the request is settled and no process has its rows any more.
Pages are reserved as they are needed, so that a shortage is a refused request and no dead process.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from bisect import bisect_left

from serving.arena import ALIGNMENT
from serving.errors import BodyTooLarge, Overloaded

#: Pages are reserved, and kept while nothing is there, in steps of so many bytes.
STEP = 1 << 20

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class PayloadMemory:
    """`limit` bytes of addresses; memory is taken for what payloads need. Raises OSError if made in vain."""

    def __init__(self, limit: int) -> None:
        self.limit = -(-limit // STEP) * STEP
        #: Bytes that payloads take now.
        self.used = 0
        #: What is free: (start, stop), sorted, never touching one another.
        self._holes = [(0, self.limit)]
        self._reserved = 0
        self._touched = False
        self._file = os.memfd_create("penstock-payloads", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self._file, self.limit)
        fcntl.fcntl(self._file, fcntl.F_ADD_SEALS, _SEALS)
        #: A descriptor that cannot be mapped writable, for stages.
        self.read_only = os.open(f"/proc/self/fd/{self._file}", os.O_RDONLY | os.O_CLOEXEC)
        self._memory = mmap.mmap(self._file, self.limit)

    def take(self, size: int) -> tuple[int, memoryview]:
        """Where `size` bytes are free, and a view to write them; they are taken until `free`.

        Raises:
            BodyTooLarge: they would not fit if nothing else were there.
            Overloaded: they do not fit now.
        """
        size = _aligned(size)
        if size > self.limit:
            raise BodyTooLarge(
                f"the request has {size} bytes of payload", f"at most {self.limit} are taken"
            )
        fitting = (i for i, (start, stop) in enumerate(self._holes) if stop - start >= size)
        index = next(fitting, None)
        if index is None:
            raise _full()
        start, stop = self._holes[index]
        self._reserve(start + size)
        self._holes[index : index + 1] = [(start + size, stop)] if start + size < stop else []
        self.used += size
        self._touched = True
        return start, memoryview(self._memory)[start : start + size]

    def _reserve(self, stop: int) -> None:
        if stop <= self._reserved:
            return
        stop = -(-stop // STEP) * STEP
        try:
            os.posix_fallocate(self._file, self._reserved, stop - self._reserved)
        except OSError as error:
            raise _full() from error
        self._reserved = stop

    def free(self, start: int, size: int) -> None:
        """Give back what `take` gave; `size` is as it was asked for."""
        size = _aligned(size)
        self.used -= size
        stop = start + size
        index = bisect_left(self._holes, (start, stop))
        first = last = index
        if index and self._holes[index - 1][1] == start:
            first, start = index - 1, self._holes[index - 1][0]
        if index < len(self._holes) and self._holes[index][0] == stop:
            last, stop = index + 1, self._holes[index][1]
        self._holes[first:last] = [(start, stop)]

    def trim(self) -> None:
        """Give pages back to the system if nothing was here since this was last called."""
        if not self._touched and not self.used and self._reserved > STEP:
            self._memory.madvise(mmap.MADV_REMOVE, STEP, self._reserved - STEP)
            self._reserved = STEP
        self._touched = False

    def close(self) -> None:
        """Unmap and close. Views handed out must be gone."""
        self._memory.close()
        os.close(self._file)
        os.close(self.read_only)


def _aligned(size: int) -> int:
    return max(-(-size // ALIGNMENT), 1) * ALIGNMENT


def _full() -> Overloaded:
    return Overloaded("the memory for payloads is full", "", "Try again later.")
