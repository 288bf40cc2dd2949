"""The frame: 32 bytes that hand a buffer of a link's arena to the other end.

```
offset size  field
     0    1  kind        PREDICT or SHARE to the worker; RESULT, FAILURE … back
     1    1  buffer      index of the buffer that changes hands
     2    2  zero
     4    4  length      rows in the buffer; for FAILURE and REFUSED the bytes of the text
     8    8  sequence    of the PREDICT, repeated by its answer
    16    8  deadline    CLOCK_MONOTONIC in ns, of the most patient row; 0: none
    24    8  compute     ns that the worker spent; 0 in a PREDICT
```

Little-endian. Whoever sent the last frame about a buffer does not touch that buffer any more: the
kernel's socket orders the memory accesses, so there are no locks and no counters in shared memory.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from serving.errors import FrameError

_LAYOUT = struct.Struct("<BBHIQQQ")
SIZE = _LAYOUT.size


class Kind(IntEnum):
    """What a frame says about its buffer."""

    PREDICT = 1
    RESULT = 2
    FAILURE = 3
    EXPIRED = 4
    #: A stage cannot read a row; the text is for the client.
    REFUSED = 5
    #: Beside this frame comes the descriptor of the gateway's payload memory. Has no answer.
    SHARE = 6


class Frame(NamedTuple):
    """One message of a link. Fields and units: see the module."""

    kind: Kind
    buffer: int
    length: int
    sequence: int
    deadline: int = 0
    compute: int = 0

    def encode(self) -> bytes:
        """The 32 bytes of this frame."""
        return _LAYOUT.pack(
            self.kind, self.buffer, 0, self.length, self.sequence, self.deadline, self.compute
        )


def decode(data: bytes | memoryview) -> Frame:
    """Read one frame from exactly 32 bytes.

    Raises:
        FrameError: another length, an unknown kind, or a reserved field that is not zero.
    """
    if len(data) != SIZE:
        raise FrameError(f"a frame of {len(data)} bytes", f"every frame has {SIZE}")
    kind, buffer, zero, length, sequence, deadline, compute = _LAYOUT.unpack(data)
    if zero or not Kind.PREDICT <= kind <= Kind.SHARE:
        raise FrameError("a frame that cannot be read", f"kind {kind}, reserved field {zero}")
    return Frame(Kind(kind), buffer, length, sequence, deadline, compute)


class FrameReader:
    """Cuts a stream of bytes into frames, however it was chopped on its way."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames completed by `data`. Raises FrameError."""
        data = self._rest + data
        end = len(data) - len(data) % SIZE
        self._rest = data[end:]
        view = memoryview(data)
        return [decode(view[start : start + SIZE]) for start in range(0, end, SIZE)]
