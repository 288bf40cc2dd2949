"""Binned rows: what LightGBM trains on, one byte a value, made a chunk at a time.

Boundaries come from the rows that the library itself would sample, so that bins are those that it
makes of a whole matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ctypes import byref, c_char_p, c_int, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from jobs.training.calls import FLOAT32, FLOAT64, Handle, call
from jobs.training.memory import release
from jobs.training.window import Positions, Window
from registry.models.signature import Matrix, Signature

_ZERO = 1e-35  # what the library takes for zero, which its samples leave out

Floats: TypeAlias = NDArray[np.float64]


class Rows(Handle):
    """Binned rows: the library's data set."""

    _free = "LGBM_DatasetFree"

    @classmethod
    def from_window(cls, window: Window, signature: Signature, settings: str) -> Rows:
        """Bin the rows of `window`: boundaries from a sample, then chunk by chunk."""
        rows, made = len(window), cls()
        sample = _sampled(window, signature, _sample_positions(rows, settings))
        values, indices, counts = _nonzero(sample)
        call(
            "LGBM_DatasetCreateFromSampledColumn",
            (c_void_p * len(values))(*(column.ctypes.data for column in values)),
            (c_void_p * len(values))(*(column.ctypes.data for column in indices)),
            c_int32(len(values)), counts.ctypes, c_int32(len(sample)), c_int32(rows),
            c_int64(rows), settings.encode(), byref(made.handle),
        )  # fmt: skip
        del sample, values, indices
        release()
        made._push(window.chunks(signature))
        made._set_names(signature.names)
        made.set("label", window.labels.astype(np.float32))
        return made

    @classmethod
    def like(cls, other: Rows, window: Window, signature: Signature) -> Rows:
        """Bin the rows of `window` by the boundaries of `other`."""
        made = cls()
        rows = c_int64(len(window))
        call("LGBM_DatasetCreateByReference", other.handle, rows, byref(made.handle))
        made._push(window.chunks(signature))
        made.set("label", window.labels.astype(np.float32))
        return made

    @classmethod
    def load(cls, path: Path, settings: str) -> Rows:
        """Read what `save` wrote. The caller vouches for the file's bytes."""
        made = cls()
        name = str(path).encode()
        call("LGBM_DatasetCreateFromFile", name, settings.encode(), None, byref(made.handle))
        return made

    def save(self, path: Path) -> None:
        """Write the binned rows, boundaries, names and labels to the new file `path`."""
        call("LGBM_DatasetSaveBinary", self.handle, str(path).encode())

    def set(self, field: str, values: NDArray[Any]) -> None:
        """Set "label" or "weight" (float32), or "init_score" (float64), one a row."""
        kind = FLOAT64 if values.dtype == np.float64 else FLOAT32
        call(
            "LGBM_DatasetSetField",
            self.handle, field.encode(), c_void_p(values.ctypes.data), c_int(len(values)), c_int(kind),
        )  # fmt: skip

    def _push(self, chunks: Iterable[Matrix]) -> None:
        first = 0
        for chunk in chunks:
            rows, columns = map(c_int32, chunk.shape)
            data = c_void_p(chunk.ctypes.data)
            call(
                "LGBM_DatasetPushRows", self.handle, data, c_int(FLOAT64), rows, columns, c_int32(first)
            )  # fmt: skip
            first += len(chunk)

    def _set_names(self, names: Sequence[str]) -> None:
        texts = (c_char_p * len(names))(*(name.encode() for name in names))
        call("LGBM_DatasetSetFeatureNames", self.handle, texts, c_int(len(names)))


def _sample_positions(rows: int, settings: str) -> Positions:
    """The rows that the library takes boundaries from."""
    count = c_int()
    call("LGBM_GetSampleCount", c_int32(rows), settings.encode(), byref(count))
    found, length = np.empty(count.value, dtype=np.int32), c_int32()
    call("LGBM_SampleIndices", c_int32(rows), settings.encode(), found.ctypes, byref(length))
    return found[: length.value].astype(np.int64)


def _sampled(window: Window, signature: Signature, positions: Positions) -> Matrix:
    """The rows at `positions`, column by column."""
    sample = np.empty((len(positions), len(signature.inputs)), order="F")
    first = 0
    for chunk in window.chunks(signature, positions):
        sample[first : first + len(chunk)] = chunk
        first += len(chunk)
    return sample


def _nonzero(sample: Matrix) -> tuple[list[Floats], list[NDArray[np.int32]], NDArray[np.int32]]:
    """For each column the values that are not zero, their rows, and how many there are."""
    every = np.arange(len(sample), dtype=np.int32)
    values, rows = [], []
    for column in sample.T:
        kept = (np.abs(column) > _ZERO) | np.isnan(column)
        whole = bool(kept.all())
        values.append(column if whole else column[kept])
        rows.append(every if whole else every[kept])
    return values, rows, np.array([len(column) for column in values], dtype=np.int32)
