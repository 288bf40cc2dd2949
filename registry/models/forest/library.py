"""The native evaluator, if it was built: `native/*.c` as a shared library beside this module.

It is no Python extension: it is loaded with ctypes, so that building takes a C compiler and nothing
of Python, and every call releases the GIL.
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import c_int, c_int64, c_uint64, c_void_p
from pathlib import Path

from registry.logs import get_logger

log = get_logger(__name__)

#: Vectors of how many bytes, by level; the last that the processor has is used.
LEVELS = ("scalar", "16 bytes", "32 bytes (AVX2)", "64 bytes (AVX-512)")
#: How rows are evaluated; tests and benchmarks choose, everything else is automatic.
AUTOMATIC, WALK, BIT_VECTORS, BLOCKED_WALK = range(4)


@functools.cache
def library() -> ctypes.CDLL | None:
    """The shared library, prototypes declared; None, after one line of log, where there is none."""
    paths = sorted(Path(__file__).parent.glob("_native*.so"))
    if not paths:
        log.warning(
            "LightGBM models run through the library, several times slower",
            reason="the native evaluator was not built: no C compiler when penstock was installed",
        )
        return None
    try:
        return load_library(paths[0])
    except (OSError, AttributeError) as error:
        log.warning(
            "LightGBM models run through the library, several times slower",
            reason=f"the native evaluator does not load: {error}",
        )
        return None


def load_library(path: Path) -> ctypes.CDLL:
    """Load and declare. Raises OSError, or AttributeError for a library of something else."""
    lib = ctypes.CDLL(str(path))
    lib.forest_check.argtypes = [c_void_p, c_uint64]
    lib.forest_predict.argtypes = [c_void_p, c_void_p, c_int64, c_void_p, c_int, c_int, c_int]
    lib.forest_level.argtypes = []
    for name in ("forest_check", "forest_predict", "forest_level"):
        getattr(lib, name).restype = c_int
    return lib
