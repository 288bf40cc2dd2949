"""The plainest of requests, numbers and nothing else, read by `native/plain.c` if it was built.

It takes a part of what `protocols.oip` and `protocols.mlflow` take, and the same values from it, bit
for bit; to everything else it says None, as it does where there is no native code. So it can only
make an answer come sooner, never make it another one.
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import c_char_p, c_int64, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from registry.logs import get_logger
from registry.models.signature import Matrix

log = get_logger(__name__)

#: Powers of ten that `native/plain.c` has at hand: numbers beyond them go to the library.
_LOWEST, _HIGHEST = -60, 60
#: Bytes of the largest body that is read here: room for its numbers is kept.
LARGEST = 2 * 1024 * 1024


class PlainReader:
    """Reads bodies for a model of `width` columns. Not for several threads."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._library = library()
        self._make_room(64)

    @property
    def native(self) -> bool:
        """Whether anything is read at all."""
        return self._library is not None

    def tensor(self, body: bytes | bytearray) -> Matrix | None:
        """The rows of an Open Inference Protocol request with a single tensor of shape [n, width]."""
        return self._read(self._library.plain_tensor, body) if self._library else None

    def rows(self, body: bytes | bytearray) -> Matrix | None:
        """The rows of MLflow's `instances` or `inputs`, given as lists."""
        return self._read(self._library.plain_rows, body) if self._library else None

    def _make_room(self, rows: int) -> None:
        self._most = 2 * rows * self.width
        self._out = np.empty((rows, self.width))
        self._plan = _plan(self._out, self.width)
        self._address = ctypes.addressof(self._plan)

    def _read(self, function: Any, body: bytes | bytearray) -> Matrix | None:
        size = len(body)
        if type(body) is not bytes or size > LARGEST:
            return None
        if size > self._most:
            # A number takes two bytes at least, with what follows it.
            self._make_room(size // (2 * self.width) + 1)
        rows = function(body, size, self._address)
        return self._out[:rows].copy() if rows else None


class Tray:
    """Rows of several bodies, one behind the other. For one form of body, and not for several threads.

    `form` is "tensor" or "rows", as in `PlainReader`; up to `rows` rows fit.
    """

    def __init__(self, form: str, width: int, rows: int) -> None:
        native = library()
        assert native is not None
        self.form, self.width, self.rows = form, width, rows
        self._add = getattr(native, f"gather_{form}")
        self._out = np.empty((rows, width))
        self._plan = _plan(self._out, width)
        #: Where its plan is, for native code that reads into it.
        self.address = ctypes.addressof(self._plan)

    def add(self, data: bytes, start: int, size: int) -> int:
        """Read the body from `start` to the end of `data`, of `size` bytes.

        Returns its rows; 0 if it is not plain, or does not fit, and then nothing is kept of it.
        """
        rows: int = self._add(data, start, size, self.address)
        return rows

    def take(self) -> Matrix:
        """All rows since this was last asked."""
        rows = self._plan.used // self.width
        self._plan.used = 0
        return self._out[:rows].copy()


class _Plan(ctypes.Structure):
    """`Plan` of `native/plain.c`."""

    _fields_ = (
        ("powers", c_void_p), ("lowest", c_int64), ("count", c_int64),
        ("out", c_void_p), ("room", c_int64), ("width", c_int64), ("used", c_int64),
    )  # fmt: skip


def _plan(out: Matrix, width: int) -> _Plan:
    powers = _powers().ctypes.data
    return _Plan(
        powers, _LOWEST, _HIGHEST - _LOWEST + 1, out.ctypes.data, out.size, width, 0
    )  # fmt: skip


@functools.cache
def library() -> ctypes.CDLL | None:
    """The shared library, prototypes declared; None where it was not built or does not load."""
    path = Path(__file__).with_name("_plain.so")
    try:
        lib = ctypes.CDLL(str(path))
        for function in (lib.plain_tensor, lib.plain_rows):
            function.argtypes = [c_char_p, c_int64, c_void_p]
            function.restype = c_int64
        for function in (lib.gather_tensor, lib.gather_rows):
            function.argtypes = [c_char_p, c_int64, c_int64, c_void_p]
            function.restype = c_int64
    except (OSError, AttributeError) as error:
        log.info("requests are read without native code", reason=str(error))
        return None
    return lib


def _normalised(exponent: int) -> int:
    """The first 128 bits of 10**exponent, cut off."""
    power: int = 10 ** abs(exponent)
    bits = power.bit_length()
    if exponent < 0:
        return (1 << (127 + bits)) // power
    return power << (128 - bits) if bits <= 128 else power >> (bits - 128)


@functools.cache
def _powers() -> np.ndarray[Any, np.dtype[np.uint64]]:
    halves = [
        half
        for power in map(_normalised, range(_LOWEST, _HIGHEST + 1))
        for half in (power >> 64, power & (1 << 64) - 1)
    ]
    return np.array(halves, dtype=np.uint64)
