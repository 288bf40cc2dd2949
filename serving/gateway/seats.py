"""The native code of the fast path, `native/seats.c` and `native/fast.c`, as Python sees it."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int64, c_uint64, c_void_p

from registry.logs import get_logger
from serving.gateway.plain import library

log = get_logger(__name__)

#: Bytes of a request, requests that are read in one go, and endpoints; as in `native/fast.h`.
ROOM, EVENTS, ROUTES = 8192, 256, 64


class Frame(ctypes.Structure):
    """`Frame` of `native/fast.h`: what is around the number in an answer."""

    _fields_ = (
        ("head", c_char_p), ("headers", c_char_p), ("before", c_char_p), ("after", c_char_p),
        ("head_size", c_int64), ("headers_size", c_int64), ("before_size", c_int64),
        ("after_size", c_int64),
    )  # fmt: skip

    @classmethod
    def of(cls, head: bytes, headers: bytes, before: bytes, after: bytes) -> Frame:
        """Around a number there are `before` and `after`; `head` is the first line."""
        parts = (head, headers, before, after)
        return cls(*parts, *map(len, parts))


class Route(ctypes.Structure):
    """`Route` of `native/fast.h`: how the rows of one endpoint are read, and where to."""

    _fields_ = (("rows", c_int64), ("plan", c_void_p), ("most", c_int64))


class Run(ctypes.Structure):
    """`Run` of `native/fast.h`: what was read in a turn."""

    _fields_ = (
        ("route", c_int64), ("count", c_int64), ("odd", c_int64),
        ("tokens", c_uint64 * EVENTS), ("odds", c_uint64 * (2 * EVENTS)),
    )  # fmt: skip


def declared() -> ctypes.CDLL | None:
    """The library with the prototypes of the fast path; None where it lacks them."""
    native = library()
    if native is None:
        return None
    try:
        for name, result, arguments in _PROTOTYPES:
            function = getattr(native, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError as error:
        log.info("connections are not read by native code", reason=str(error))
        return None
    return native


_PROTOTYPES = (
    ("fast_open", c_void_p, [c_int64, c_char_p, c_uint64]),
    ("fast_close", None, [c_void_p]),
    ("fast_fileno", c_int64, [c_void_p]),
    ("fast_routes", c_void_p, [c_void_p]),
    ("fast_forget", None, [c_void_p]),
    ("fast_know", c_int64, [c_void_p, c_char_p, c_int64, c_int64, c_int64]),
    ("fast_seat", c_int64, [c_void_p, c_int64]),
    ("fast_leave", None, [c_void_p, c_int64]),
    ("fast_data", c_int64, [c_void_p, c_int64, POINTER(c_void_p)]),
    ("fast_known", c_int64, [c_void_p, c_int64]),
    ("fast_token", c_uint64, [c_void_p, c_int64]),
    ("fast_state", c_int64, [c_void_p, c_int64]),
    ("fast_turn", c_int64, [c_void_p]),
    (
        "fast_answer",
        c_int64,
        [c_void_p, POINTER(Frame), c_void_p, c_int64, c_char_p, POINTER(c_int64)],
    ),
)  # fmt: skip
