"""The arena: the memory of one link, two anonymous files that the kernel frees with their holders.

The *inputs* are written by the gateway and mapped read-only by the worker; the *outputs* are
written by the worker and mapped read-only by the gateway. A dying process can scribble only on
what it owned. Nothing has a name, so nothing is left behind in /dev/shm and no other process's
resource tracker can unlink it. The files are sealed against resizing (no SIGBUS) and their pages
are reserved when made (a shortage shows here, not in the middle of a batch).
"""

from __future__ import annotations

import fcntl
import mmap
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from registry.models.signature import Matrix

ALIGNMENT = 64
BUFFERS = 2
#: Every output buffer has room for at least this many bytes, so that an error text fits.
MIN_OUTPUT = 4096

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class Layout(msgspec.Struct, frozen=True):
    """The shape of an arena: rows a buffer holds, float64 columns in and out."""

    rows: int
    features: int
    outputs: int

    @property
    def input_stride(self) -> int:
        """Bytes from one input buffer to the next."""
        return _aligned(self.rows * self.features * 8)

    @property
    def output_stride(self) -> int:
        """Bytes from one output buffer to the next."""
        return _aligned(max(self.rows * self.outputs * 8, MIN_OUTPUT))


def _aligned(size: int) -> int:
    return max(-(-size // ALIGNMENT), 1) * ALIGNMENT


@dataclass(frozen=True)
class ArenaFiles:
    """The two files of an arena, each as a writable and a read-only descriptor."""

    inputs: int
    inputs_read_only: int
    outputs: int
    outputs_read_only: int

    def close(self) -> None:
        """Close the descriptors of this process; mappings and other processes keep the memory."""
        for descriptor in (
            self.inputs,
            self.inputs_read_only,
            self.outputs,
            self.outputs_read_only,
        ):
            os.close(descriptor)


def create_arena(layout: Layout) -> ArenaFiles:
    """Make the files of an arena. Raises OSError when there is no memory for them."""
    inputs, inputs_read_only = _memory("penstock-inputs", layout.input_stride * BUFFERS)
    outputs, outputs_read_only = _memory("penstock-outputs", layout.output_stride * BUFFERS)
    return ArenaFiles(inputs, inputs_read_only, outputs, outputs_read_only)


def _memory(name: str, size: int) -> tuple[int, int]:
    writable = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.posix_fallocate(writable, 0, size)
        fcntl.fcntl(writable, fcntl.F_ADD_SEALS, _SEALS)
        # A second description of the same file that the kernel refuses to map writable.
        return writable, os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        os.close(writable)
        raise


class Arena:
    """One end's view of an arena: `inputs[i]` and `outputs[i]` are float64 matrices of buffer i."""

    def __init__(self, layout: Layout, inputs: int, outputs: int, *, gateway: bool) -> None:
        """Map the descriptors `inputs` and `outputs`, which stay the caller's to close.

        The gateway writes inputs and reads outputs; the worker the other way round.
        """
        self.layout = layout
        reads, writes = mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_WRITE
        self._inputs = mmap.mmap(
            inputs, layout.input_stride * BUFFERS, prot=writes if gateway else reads
        )
        self._outputs = mmap.mmap(
            outputs, layout.output_stride * BUFFERS, prot=reads if gateway else writes
        )
        self.inputs = [
            _matrix(self._inputs, index * layout.input_stride, layout.rows, layout.features)
            for index in range(BUFFERS)
        ]
        self.outputs = [
            _matrix(self._outputs, index * layout.output_stride, layout.rows, layout.outputs)
            for index in range(BUFFERS)
        ]

    def write_text(self, buffer: int, text: str) -> int:
        """Put an error text into an output buffer, cut to fit; returns its bytes (worker)."""
        data = text.encode("utf-8", "replace")[: self.layout.output_stride]
        start = buffer * self.layout.output_stride
        self._outputs[start : start + len(data)] = data
        return len(data)

    def read_text(self, buffer: int, size: int) -> str:
        """The error text that the worker left in an output buffer (gateway)."""
        start = buffer * self.layout.output_stride
        data = self._outputs[start : start + min(size, self.layout.output_stride)]
        return data.decode("utf-8", "replace")

    def close(self) -> None:
        """Unmap. Matrices handed out must not be used any more."""
        self.inputs, self.outputs = [], []
        self._inputs.close()
        self._outputs.close()


def _matrix(memory: mmap.mmap, offset: int, rows: int, columns: int) -> Matrix:
    import numpy as np  # Only the two ends need it; the supervisor, which makes arenas, does not.

    flat: Matrix = np.frombuffer(memory, np.float64, rows * columns, offset)
    return flat.reshape(rows, columns)
