"""JSON decoders of structs, each built once, by one thread.

msgspec looks up the fields of a struct when it is first decoded, by calling back into Python. Two
threads doing that for one struct at the same time crash the process (seen with msgspec 0.22.0: a
segmentation fault in one of a hundred races), so whatever may run in several threads takes its
decoder from here. A decoder that exists is safe to share.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

Kind = TypeVar("Kind")

_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
_building = threading.Lock()


def decoder(kind: type[Kind]) -> msgspec.json.Decoder[Kind]:
    """The decoder of `kind`, which refuses what does not fit; raises msgspec's errors."""
    known = _decoders.get(kind)
    if known is None:
        with _building:
            known = _decoders.setdefault(kind, msgspec.json.Decoder(kind))
    return known
