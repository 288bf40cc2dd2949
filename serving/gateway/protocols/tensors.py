"""Typed tensors: the datatypes of the Open Inference Protocol, as JSON values and as bytes.

Bytes are little-endian and row-major; an element of BYTES is a length (4 bytes) and as many bytes,
which are UTF-8 where a column is text. Nothing here knows how a tensor travels. Specification of the bytes:
https://github.com/triton-inference-server/server/tree/main/docs/protocol (extension_binary_data)
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.models.signature import Matrix
from serving.errors import RequestError

Values = Sequence[Any] | NDArray[Any]
"""The elements of a tensor, flat: JSON values, bytes, or an array."""

Bytes = memoryview | bytes | bytearray
_LENGTH = 4
_INTEGERS: dict[str, np.dtype[Any]] = {
    f"{sign}INT{8 * size}": np.dtype(f"<{kind}{size}")
    for sign, kind in (("", "i"), ("U", "u"))
    for size in (1, 2, 4, 8)
}
_FLOATS: dict[str, np.dtype[Any]] = {
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
#: NumPy has no bfloat16, which is the upper half of a float32.
_DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("u1"),
    "BF16": np.dtype("<u2"),
    **_FLOATS,
    **_INTEGERS,
}
_RANGES = {name: (np.iinfo(kind).min, np.iinfo(kind).max) for name, kind in _INTEGERS.items()}

#: Datatypes whose elements are numbers (or truth values), and all that are known.
NUMERIC = frozenset(_DTYPES)
KNOWN = NUMERIC | {"BYTES"}
#: Types of a signature in the words of the protocol.
DATATYPES = {
    "float64": "FP64",
    "int64": "INT64",
    "bool": "BOOL",
    "category": "BYTES",
    "bytes": "BYTES",
}


def decode(name: str, datatype: str, shape: Sequence[int], data: Bytes) -> Values:
    """The elements of the tensor `name` from its bytes.

    Raises:
        RequestError: the datatype is unknown, or the bytes are not such a tensor of this shape.
    """
    check_datatype(name, datatype)
    if len(shape) not in (1, 2):
        raise RequestError(f"input {name[:80]!r} must have the shape [n] or [n, columns]")
    count = prod(shape)
    if datatype == "BYTES":
        return _elements(name, count, data)
    dtype = _DTYPES[datatype]
    if any(size < 0 for size in shape) or len(data) != count * dtype.itemsize:
        raise RequestError(
            f"input {name[:80]!r} has {len(data)} bytes",
            f"{datatype} of shape {list(shape)} has {max(count, 0) * dtype.itemsize}",
        )
    values = np.frombuffer(data, dtype)
    if datatype == "BF16":
        return (values.astype("<u4") << 16).view("<f4")
    return _booleans(name, values) if datatype == "BOOL" else values


def _booleans(name: str, values: NDArray[Any]) -> NDArray[Any]:
    if (values > 1).any():
        raise RequestError(f"input {name[:80]!r}: a BOOL is one byte, 0 or 1")
    return values.astype(np.bool_)


def _elements(name: str, count: int, data: Bytes) -> list[Bytes]:
    """The elements of BYTES, as views where `data` is one: payloads are large."""
    elements: list[Bytes] = []
    at, end = 0, len(data)
    while at < end:
        start = at + _LENGTH
        at = start + int.from_bytes(data[at:start], "little")
        if at > end:
            raise RequestError(
                f"input {name[:80]!r}: element {len(elements)} ends after the bytes do"
            )
        elements.append(data[start:at])
    if len(elements) != count:
        raise RequestError(
            f"input {name[:80]!r} has {len(elements)} elements", f"its shape has {count}"
        )
    return elements


def texts(name: str, values: Values) -> list[Any]:
    """Elements with bytes read as text; what is none stays. Raises RequestError unless it is UTF-8."""
    binary = (bytes, bytearray, memoryview)
    return [text(name, value) if isinstance(value, binary) else value for value in values]


def text(name: str, data: Bytes) -> str:
    """One element of BYTES. Raises RequestError unless it is UTF-8."""
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise RequestError(f"input {name[:80]!r} holds bytes that are not UTF-8") from None


def encode(column: Matrix) -> bytes:
    """The bytes of an output, FP64."""
    return column.astype("<f8", copy=False).tobytes()


def item_size(datatype: str) -> int:
    """Bytes of an element of a numeric datatype."""
    return _DTYPES[datatype].itemsize


def check_datatype(name: str, datatype: str) -> None:
    """Raise RequestError if there is no such datatype."""
    if datatype not in KNOWN:
        raise RequestError(
            f"input {name[:80]!r} has the datatype {datatype[:20]!r}",
            f"known are {', '.join(sorted(KNOWN))}",
        )


def check_integers(name: str, datatype: str, values: Sequence[Any]) -> None:
    """Raise RequestError if a JSON value is no integer of this datatype (null is missing).

    Nothing is checked where `datatype` is none of the integers'.
    """
    if datatype not in _RANGES:
        return
    low, high = _RANGES[datatype]
    for number, value in enumerate(values):
        if value is not None and (type(value) is not int or not low <= value <= high):
            raise RequestError(f"input {name[:80]!r}: value {number} is not an {datatype}")
