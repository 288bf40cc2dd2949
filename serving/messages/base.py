"""What all messages of control channels are: JSON, decoded strictly by msgspec."""

from __future__ import annotations

from typing import Any

import msgspec


class Message(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """A message of a control channel."""

    def encode(self) -> bytes:
        """The bytes of this message."""
        return msgspec.json.encode(self)


def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """A decoder for one of the unions above; it raises msgspec.ValidationError on anything else."""
    return msgspec.json.Decoder(kind)
