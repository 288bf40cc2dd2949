"""LightGBM text models through the library's documented C API.

The shared library of the `lightgbm` distribution is loaded directly. Its Python module would
import pandas and scipy (a second and some 60 MB per worker) to make the same calls, and costs
95 µs a row where `LGBM_BoosterPredictForMatSingleRowFast` costs 6; the numbers are identical
(tests compare them with `Booster.predict`).

Protocol: https://lightgbm.readthedocs.io/en/stable/C-API.html
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
from ctypes import byref, c_char_p, c_int, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from registry.errors import BadData, ConfigError
from registry.models.lightgbm_text import check_text
from registry.models.matrix import as_rows

if TYPE_CHECKING:
    from registry.models.signature import Matrix

_FLOAT64 = 1  # C_API_DTYPE_FLOAT64
_NORMAL = 0  # C_API_PREDICT_NORMAL: after the objective's link, such as the sigmoid
_ROW_MAJOR = 1
_ALL = -1


class LightGBMPredictor:
    """A booster on `threads` threads; `features` inputs, `outputs` values per row."""

    def __init__(self, model: bytes, threads: int = 1) -> None:
        """Load a text model.

        Raises:
            BadData: the text is not a well-formed model (checked here first, since the
                library aborts the process on some malformed files), or the library refuses it.
        """
        check_text(model)
        self._lib = library()
        self._booster = c_void_p()
        self._fast = c_void_p()
        self._threads = b"num_threads=%d" % threads
        iterations = c_int()
        self._call(
            "LGBM_BoosterLoadModelFromString", model, byref(iterations), byref(self._booster)
        )
        self.features = self._integer("LGBM_BoosterGetNumFeature")
        self.outputs = self._integer("LGBM_BoosterGetNumClasses")
        self._call(
            "LGBM_BoosterPredictForMatSingleRowFastInit",
            self._booster, _NORMAL, 0, _ALL, _FLOAT64, self.features, b"num_threads=1",
            byref(self._fast),
        )  # fmt: skip

    def predict(self, matrix: Matrix) -> Matrix:
        """Outputs of shape (rows, outputs); see `Predictor.predict`."""
        rows = as_rows(matrix, self.features)
        if not self._booster.value:
            raise ValueError("this predictor is closed")
        out = np.empty((len(rows), self.outputs), dtype=np.float64)
        if len(rows) == 1:
            self._predict_row(rows, out)
        elif len(rows):
            self._predict_rows(rows, out)
        return out

    def close(self) -> None:
        """Free the booster."""
        if self._fast.value:
            self._lib.LGBM_FastConfigFree(self._fast)
        if self._booster.value:
            self._lib.LGBM_BoosterFree(self._booster)
        self._fast, self._booster = c_void_p(), c_void_p()

    def _predict_row(self, row: Matrix, out: Matrix) -> None:
        written = c_int64()
        failed = self._lib.LGBM_BoosterPredictForMatSingleRowFast(
            self._fast, row.ctypes.data, byref(written), out.ctypes.data
        )
        if failed or written.value != out.size:
            raise self._error("LGBM_BoosterPredictForMatSingleRowFast")

    def _predict_rows(self, rows: Matrix, out: Matrix) -> None:
        written = c_int64()
        self._call(
            "LGBM_BoosterPredictForMat",
            self._booster, rows.ctypes.data, _FLOAT64, len(rows), self.features, _ROW_MAJOR,
            _NORMAL, 0, _ALL, self._threads, byref(written), out.ctypes.data,
        )  # fmt: skip
        if written.value != out.size:
            raise self._error("LGBM_BoosterPredictForMat")

    def _integer(self, function: str) -> int:
        value = c_int()
        self._call(function, self._booster, byref(value))
        return value.value

    def _call(self, function: str, *arguments: object) -> None:
        if getattr(self._lib, function)(*arguments):
            raise self._error(function)

    def _error(self, function: str) -> BadData:
        text = self._lib.LGBM_GetLastError() or b""
        return BadData(
            "LightGBM refuses the model",
            f"{function}: {text.decode('utf-8', 'replace').strip()}",
            "Train it again, or export it again with Booster.save_model.",
        )


@functools.cache
def library() -> ctypes.CDLL:
    """The shared library of the installed `lightgbm` distribution, prototypes declared.

    Raises:
        ConfigError: it is not installed, or does not load (libgomp1 is missing).
    """
    spec = importlib.util.find_spec("lightgbm")
    folders = list(spec.submodule_search_locations or []) if spec else []
    names = ("lib_lightgbm.so", "lib_lightgbm.dylib")
    paths = [Path(f) / sub / name for f in folders for sub in ("lib", "bin") for name in names]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise ConfigError(
            "LightGBM is not installed", f"looked in {folders}", "Run `make install`."
        )
    # OpenMP reads this as it is loaded. Threads that spin while they wait steal the core from the
    # one they wait for: with other work on the machine training took three times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        return _declare(ctypes.CDLL(str(path)))
    except OSError as error:
        raise ConfigError(
            "LightGBM does not load", str(error), "Install libgomp (Debian: libgomp1)."
        ) from None


def _declare(lib: ctypes.CDLL) -> ctypes.CDLL:
    pointer = c_void_p
    lib.LGBM_GetLastError.restype = c_char_p
    prototypes: dict[str, list[type]] = {
        "LGBM_BoosterLoadModelFromString": [c_char_p, pointer, pointer],
        "LGBM_BoosterFree": [pointer],
        "LGBM_BoosterGetNumFeature": [pointer, pointer],
        "LGBM_BoosterGetNumClasses": [pointer, pointer],
        "LGBM_BoosterPredictForMatSingleRowFastInit":
            [pointer, c_int, c_int, c_int, c_int, c_int32, c_char_p, pointer],
        "LGBM_BoosterPredictForMatSingleRowFast": [pointer, pointer, pointer, pointer],
        "LGBM_FastConfigFree": [pointer],
        "LGBM_BoosterPredictForMat":
            [pointer, pointer, c_int, c_int32, c_int32, c_int, c_int, c_int, c_int, c_char_p,
             pointer, pointer],
    }  # fmt: skip
    for name, arguments in prototypes.items():
        getattr(lib, name).argtypes = arguments
        getattr(lib, name).restype = c_int
    return lib
