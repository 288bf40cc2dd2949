"""Small JSON objects in the store: written once, readable by a person, read strictly."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from registry.decoders import decoder
from registry.errors import BadData

Record = TypeVar("Record", bound=msgspec.Struct)


def encode_record(record: msgspec.Struct) -> bytes:
    """The bytes to store: indented JSON, fields in their declared order."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def decode_record(data: bytes, kind: type[Record], where: str, called: str) -> Record:
    """The record of type `kind` in `data`, which lies at `where`.

    Raises:
        BadData: it is not JSON, or a field is missing, unknown or of another type.
    """
    try:
        return decoder(kind).decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadData(
            f"{where} cannot be read as a {called}",
            str(error),
            "It was changed by hand or damaged: restore the object from a backup, or move it "
            "aside (keep a copy) and run again.",
        ) from None
