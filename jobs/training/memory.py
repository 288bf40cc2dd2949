"""Memory that allocators keep for later, given back: what comes next is another kind of work."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import pyarrow as pa


def release() -> None:
    """Give back what Arrow and the C library hold without using it.

    Reading needs columns, training needs bins and histograms: without this the peak of a job is the
    sum of both. After a training of a million rows it is some 70 MB.
    """
    pa.default_memory_pool().release_unused()
    _trim()(0)


@functools.cache
def _trim() -> Callable[[int], int]:
    """Glibc's `malloc_trim`; elsewhere the C library keeps what it keeps."""
    found: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return found or (lambda _: 0)
