"""Rows to outputs, from an image."""

from __future__ import annotations

import ctypes
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.errors import BadData
from registry.logs import get_logger
from registry.models.forest.image import build_image, header_of
from registry.models.forest.images import find_image, open_image
from registry.models.forest.library import AUTOMATIC, BIT_VECTORS, WALK, library
from registry.models.matrix import as_rows

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from registry.models.signature import Matrix

log = get_logger(__name__)

_SHARE = 2048  # rows for which another thread is worth waking
_ALIGNMENT = 64


def open_forest(
    model: bytes, digest: str, threads: int, images: Path | None
) -> ForestPredictor | None:
    """The evaluator of a text model with the SHA-256 `digest`; None where it was not built.

    Raises:
        BadData: the text is not a well-formed model.
        Unsupported: the evaluator lacks something that it needs.
    """
    lib = library()
    if lib is None:
        return None
    image = build_image(model) if images is None else open_image(images, digest, model)
    return ForestPredictor(lib, image, threads)


def open_found(digest: str, images: Path) -> ForestPredictor | None:
    """The evaluator of an image that another process has put into `images`; None: there is none.

    Raises:
        BadData: the image is malformed.
    """
    lib = library()
    image = find_image(images, digest) if lib is not None else None
    return ForestPredictor(lib, image) if lib is not None and image is not None else None


class ForestPredictor:
    """An evaluator of `image` on `threads` threads; `features` inputs, `outputs` values per row.

    `image` is bytes or a read-only mapping of a file (`images`), which is closed with this.
    """

    def __init__(
        self, lib: ctypes.CDLL, image: Any, threads: int = 1, level: int | None = None
    ) -> None:
        """Check the image, and that one row and many take the same way through it.

        Raises:
            BadData: an index leads out of the image.
        """
        self._lib, self._image = lib, image
        self._pool: ThreadPoolExecutor | None = None
        self._bytes = _aligned(image)
        self._base: int | None = self._bytes.ctypes.data
        failed = lib.forest_check(self._base, len(self._bytes))
        if failed:
            self.close()
            raise BadData("the image of a forest is malformed", f"check.c, line {failed}")
        head = header_of(image)
        self.features, self.outputs = head.features, head.outputs
        self._level = lib.forest_level() if level is None else level
        self._threads = threads
        self._rows: list[tuple[Matrix, Matrix, int, int]] = []
        if level is None:
            self._choose_level()

    def predict(self, matrix: Matrix) -> Matrix:
        """Outputs of shape (rows, outputs); see `Predictor.predict`."""
        if matrix.shape == (1, self.features):
            return self._predict_row(matrix)
        rows = as_rows(matrix, self.features)
        out = np.empty((len(rows), self.outputs), dtype=np.float64)
        shares = min(self._threads, len(rows) // _SHARE)
        if shares < 2:
            self._score(rows, out)
        else:
            list(self._executor().map(self._score, _split(rows, shares), _split(out, shares)))
        return out

    def raw(self, matrix: Matrix, design: int = AUTOMATIC) -> Matrix:
        """Raw scores, before the objective's link, on one thread."""
        rows = as_rows(matrix, self.features)
        out = np.empty((len(rows), self.outputs), dtype=np.float64)
        self._score(rows, out, raw=True, design=design)
        return out

    def close(self) -> None:
        """Let go of the image, and of threads."""
        self._base = None
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._bytes = np.zeros(0, dtype=np.uint8)
        close = getattr(self._image, "close", None)
        if close:
            close()

    def _predict_row(self, matrix: Matrix) -> Matrix:
        """One row without what numpy asks for the address of an array, which would cost a third.

        Buffers whose addresses are known are taken from a list and put back: that is safe between
        threads, of which each takes its own.
        """
        try:
            row, out, row_address, out_address = self._rows.pop()
        except IndexError:
            row, out = np.empty((1, self.features)), np.empty((1, self.outputs))
            row_address, out_address = row.ctypes.data, out.ctypes.data
        row[:] = matrix
        self._call(row_address, 1, out_address)
        result = out.copy()
        self._rows.append((row, out, row_address, out_address))
        return result

    def _score(
        self, rows: Matrix, out: Matrix, *, raw: bool = False, design: int = AUTOMATIC
    ) -> None:
        self._call(rows.ctypes.data, len(rows), out.ctypes.data, raw, design)

    def _call(
        self, rows: int, count: int, out: int, raw: bool = False, design: int = AUTOMATIC
    ) -> None:
        if self._base is None:
            raise ValueError("this predictor is closed")
        if self._lib.forest_predict(self._base, rows, count, out, raw, self._level, design):
            raise MemoryError(f"no memory to predict {count} rows")

    def _choose_level(self) -> None:
        """Step down to what agrees with the walk on a few rows.

        Golden rows are too few to reach the code for many rows, which differs with the processor.
        """
        # Spread over -4 … 4 by the golden ratio; numpy.random would cost two megabytes.
        spread = np.arange(80.0 * self.features) * 0.6180339887498949 % 1.0
        rows = (8.0 * spread - 4.0).reshape(80, self.features)
        rows.ravel()[::7] = np.nan
        rows.ravel()[::11] = np.trunc(rows.ravel()[::11])
        want = self.raw(rows, WALK)
        while self._level and self.raw(rows, BIT_VECTORS).tobytes() != want.tobytes():
            log.warning("instructions of this processor are not used: wrong", level=self._level)
            self._level -= 1

    def _executor(self) -> ThreadPoolExecutor:
        with _starting:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="forest")
            return self._pool


_starting = threading.Lock()


def _aligned(image: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The image at an address that is a multiple of 64: in place, or as a copy."""
    found = np.frombuffer(image, dtype=np.uint8)
    if found.ctypes.data % _ALIGNMENT == 0:
        return found
    room = np.zeros(len(found) + _ALIGNMENT, dtype=np.uint8)
    start = -room.ctypes.data % _ALIGNMENT
    copy = room[start : start + len(found)]
    copy[:] = found
    return copy


def _split(rows: Matrix, shares: int) -> Iterable[Matrix]:
    return np.array_split(rows, shares)
