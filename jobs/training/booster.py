"""LightGBM's trees as they are grown."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_double, c_int, c_int64

import numpy as np

from jobs.training.bins import Floats, Rows
from jobs.training.calls import FLOAT64, Handle, call
from jobs.training.window import Window
from registry.models.signature import Matrix, Signature

_RAW, _ALL = 1, -1
_ROW_MAJOR = 1
_TEXT = 1 << 20
#: What `lightgbm.Booster` ends a file with; it finds its way by it, and files stay the same.
_END = b"\npandas_categorical:null\n"


class Booster(Handle):
    """Trees that are being grown, or were read."""

    _free = "LGBM_BoosterFree"

    @classmethod
    def on(cls, rows: Rows, settings: str) -> Booster:
        """No trees yet, to be grown on `rows`, which must outlive it."""
        made = cls()
        call("LGBM_BoosterCreate", rows.handle, settings.encode(), byref(made.handle))
        return made

    @classmethod
    def read(cls, model: bytes) -> Booster:
        """The trees of a model file."""
        made, trees = cls(), c_int()
        call("LGBM_BoosterLoadModelFromString", model, byref(trees), byref(made.handle))
        return made

    @property
    def iterations(self) -> int:
        """How many there are."""
        found = c_int()
        call("LGBM_BoosterGetCurrentIteration", self.handle, byref(found))
        return found.value

    def begin_with(self, parent: Booster) -> None:
        """Put the trees of `parent` before one's own."""
        call("LGBM_BoosterMerge", self.handle, parent.handle)

    def watch(self, rows: Rows) -> None:
        """Measure the loss on `rows`, which must outlive it, as trees are grown."""
        call("LGBM_BoosterAddValidData", self.handle, rows.handle)

    def grow(self) -> None:
        """One iteration more."""
        call("LGBM_BoosterUpdateOneIter", self.handle, byref(c_int()))

    def loss(self) -> float:
        """The metric on the rows that are watched."""
        found, count = (c_double * 1)(), c_int()
        call("LGBM_BoosterGetEval", self.handle, c_int(1), byref(count), found)
        return float(found[0])

    def raw(self, window: Window, signature: Signature, threads: int) -> Floats:
        """The sums of leaves for each row, before the link; shape (rows,)."""
        sums = [self._raw(chunk, b"num_threads=%d" % threads) for chunk in window.chunks(signature)]
        return np.concatenate(sums)

    def text(self, iterations: int = _ALL) -> bytes:
        """The model file, of the first `iterations`."""
        size, length = _TEXT, c_int64()
        while True:
            buffer = ctypes.create_string_buffer(size)
            call(
                "LGBM_BoosterSaveModelToString",
                self.handle, c_int(0), c_int(iterations), c_int(0), c_int64(size), byref(length), buffer,
            )  # fmt: skip
            if length.value <= size:
                return buffer.value + _END
            size = length.value

    def _raw(self, chunk: Matrix, settings: bytes) -> Floats:
        rows, columns = chunk.shape
        out, written = np.empty(rows), c_int64()
        call(
            "LGBM_BoosterPredictForMat",
            self.handle, chunk.ctypes.data, FLOAT64, rows, columns, _ROW_MAJOR,
            _RAW, 0, _ALL, settings, byref(written), out.ctypes.data,
        )  # fmt: skip
        return out
