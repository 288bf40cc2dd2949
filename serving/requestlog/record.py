"""What a gateway tells of a request that was answered: a piece of it that fits into one frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

#: Bytes of one message, and of the longest piece in it; a socket takes a message whole or not at all.
FRAME, PIECE = 60_000, 48_000
#: Characters of a text that are kept.
LONGEST = 1000


class Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Rows of one request, from `row` on.

    `inputs` and `outputs` are float64 by rows; `outputs` is empty where there is no answer. `texts` has
    the column of each input that is a category, in the order of the signature, as it was asked.
    """

    model: str
    version: str
    revision: int
    request: str
    #: Seconds since the epoch at admission, and seconds until the answer.
    time: float
    latency: float
    status: int
    row: int
    rows: int
    inputs: bytes
    texts: list[list[str | None]]
    outputs: bytes

    def pieces(self) -> Iterator[bytes]:
        """This record encoded, cut by rows until each piece is short; a row that is too long is lost."""
        data = _encode(self)
        if len(data) <= PIECE:
            yield data
        elif self.rows > 1:
            for half in self._halves():
                yield from half.pieces()

    def _halves(self) -> tuple[Record, Record]:
        first = self.rows // 2
        return self._cut(0, first), self._cut(first, self.rows)

    def _cut(self, start: int, stop: int) -> Record:
        replaced: Record = msgspec.structs.replace(
            self,
            row=self.row + start,
            rows=stop - start,
            inputs=_part(self.inputs, self.rows, start, stop),
            texts=[column[start:stop] for column in self.texts],
            outputs=_part(self.outputs, self.rows, start, stop),
        )
        return replaced


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Record]).decode


def _part(data: bytes, rows: int, start: int, stop: int) -> bytes:
    width = len(data) // rows
    return data[start * width : stop * width]


def frame(pieces: Sequence[bytes]) -> bytes:
    """One message of several encoded records."""
    return _encode([msgspec.Raw(piece) for piece in pieces])


def read_frame(data: bytes) -> list[Record]:
    """The records of a message. Raises msgspec.MsgspecError."""
    return _decode(data)


def text_of(value: Any) -> str | None:
    """A value of a category as it is kept."""
    return str(value[:LONGEST]) if isinstance(value, str) else None
