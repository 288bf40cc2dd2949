"""The fast path: connections that only send plain requests of one row, read and answered by native code.

The event loop, its transports and the parser cost a request several times what its bytes do. A connection
whose requests are gathered anyway gets a seat in `native/seats.c`: its transport stops reading, and
`native/fast.c` reads what comes. Whatever is not one whole plain request with a known head gives the
connection back to its transport, with the bytes that were read. So it can only make an answer come
sooner, never make it another one.
"""

from __future__ import annotations

import asyncio
import ctypes
from array import array
from ctypes import POINTER, byref, c_char_p, c_int64, c_uint64, c_void_p
from random import getrandbits
from typing import TYPE_CHECKING

from registry.logs import get_logger
from serving.gateway.plain import Tray, library

if TYPE_CHECKING:
    from serving.gateway.group import Client
    from serving.gateway.heads import Gathers, Head
    from serving.gateway.seated import SeatedGroup

log = get_logger(__name__)

#: Bytes of a request, requests that are read in one go, and endpoints; as in `native/fast.h`.
ROOM, EVENTS, ROUTES = 8192, 256, 64
#: The part of a token that is the number of a seat.
_SEAT = 0xFFFFFFFF


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


class _Route(ctypes.Structure):
    _fields_ = (("rows", c_int64), ("plan", c_void_p), ("most", c_int64))


class _Run(ctypes.Structure):
    _fields_ = (
        ("route", c_int64), ("count", c_int64), ("odd", c_int64),
        ("tokens", c_uint64 * EVENTS), ("odds", c_uint64 * (2 * EVENTS)),
    )  # fmt: skip


class FastPath:
    """The seats of one gateway. Everything runs on the event loop."""

    def __init__(self, native: ctypes.CDLL, seats: int, loop: asyncio.AbstractEventLoop) -> None:
        """Raises OSError: there is no memory, or no descriptor."""
        self._native = native
        self._fast = native.fast_open(seats, b"%016x" % getrandbits(64), getrandbits(62) + 1)
        if not self._fast:
            raise OSError("no seats")
        self._run = _Run.from_address(self._fast)
        self._routes = (_Route * ROUTES).from_address(native.fast_routes(self._fast))
        self._takers: list[Gathers] = []
        self._trays: list[Tray | None] = []
        self._heads: list[Head] = []
        self._sitting: dict[int, Client] = {}
        #: Groups of which some may still sit.
        self.flying: set[SeatedGroup] = set()
        self._missed = (c_int64 * EVENTS)()
        self._loop = loop
        loop.add_reader(native.fast_fileno(self._fast), self._turn)

    @classmethod
    def open(cls, seats: int, loop: asyncio.AbstractEventLoop) -> FastPath | None:
        """With so many seats; None where the native code was not built."""
        native = _declared()
        return cls(native, seats, loop) if native is not None else None

    def close(self) -> None:
        """Give all connections back, and close."""
        self.clear()
        self._loop.remove_reader(self._native.fast_fileno(self._fast))
        self._native.fast_close(self._fast)
        self._fast = None

    # heads ------------------------------------------------------------------------------------

    def know(self, data: bytes, head: Head) -> None:
        """Let requests that begin with the head of `data` be taken by what gathers them."""
        assert head.gather is not None
        if head.gather not in self._takers:
            if len(self._takers) == ROUTES:
                return
            self._takers.append(head.gather)
            self._trays.append(None)
        route = self._takers.index(head.gather)
        if self._native.fast_know(self._fast, data[: head.end], head.end, head.size, route):
            self._heads.append(head)

    def forget(self) -> None:
        """Know no head any more."""
        self.clear()
        self._heads.clear()
        self._native.fast_forget(self._fast)

    def _prepare(self, route: int) -> None:
        """Say where rows are to be read to: that depends on the model."""
        tray = self._takers[route].prepare()
        if tray is self._trays[route]:
            return
        self._trays[route] = tray
        if tray is None:
            self._routes[route].plan = None
        else:
            most = min(EVENTS, tray.rows)
            self._routes[route] = _Route(tray.form == "rows", tray.address, most)

    # connections ------------------------------------------------------------------------------

    def seat(self, connection: Client, descriptor: int, head: Head) -> int:
        """Read and answer for a connection that sends such heads; its seat, or -1 if there is none."""
        assert head.gather is not None
        if head.gather in self._takers:
            self._prepare(self._takers.index(head.gather))
        number: int = self._native.fast_seat(self._fast, descriptor)
        if number >= 0:
            self._sitting[number] = connection
        return number

    def state(self, seat: int) -> int:
        """2: an answer is due; 1: one was given since this was last asked; 0: nothing happened."""
        state: int = self._native.fast_state(self._fast, seat)
        return state

    def part(self, token: int) -> tuple[Client, Head, bytes]:
        """Take the seat away from whoever sent a request that is not answered yet."""
        seat = token & _SEAT
        head = self._heads[self._native.fast_known(self._fast, seat)]
        return self._sitting[seat], head, self._leave(seat)

    def give_back(self, seat: int) -> None:
        """Take a seat away: its connection reads for itself, and has what was not answered."""
        if self.state(seat) == 2:
            token = self._native.fast_token(self._fast, seat)
            for group in self.flying:
                if group.has(token):
                    group.leave(token)
                    return
        self._sitting[seat].stand(self._leave(seat))

    def _give_back_anyway(self, seat: int) -> None:
        """Take a seat away, if nobody did; a defect on one connection is not to hold up others."""
        try:
            if seat in self._sitting:
                self.give_back(seat)
        except Exception:
            log.exception("connection failed")

    def clear(self) -> None:
        """Take all seats away."""
        for seat in list(self._sitting):
            self._give_back_anyway(seat)

    def _leave(self, seat: int) -> bytes:
        del self._sitting[seat]
        data = self._data(seat)
        self._native.fast_leave(self._fast, seat)
        return data

    def _data(self, seat: int) -> bytes:
        start = c_void_p()
        size = self._native.fast_data(self._fast, seat, byref(start))
        return ctypes.string_at(start.value or 0, size) if size else b""

    def _odds(self) -> list[int]:
        """Seats that are to be taken away, if nobody did it meanwhile."""
        tokens = self._run.odds[: self._run.odd]
        return [token & _SEAT for token in tokens if self._sits(token)]

    def _sits(self, token: int) -> bool:
        seat = token & _SEAT
        return seat in self._sitting and self._native.fast_token(self._fast, seat) == token

    # requests and answers ---------------------------------------------------------------------

    def _turn(self) -> None:
        more = True
        while more:
            more = bool(self._native.fast_turn(self._fast))
            run = self._run
            odds = self._odds() if run.odd else ()
            if run.count:
                self._take(run.route, array("Q", run.tokens[: run.count]))
            for seat in odds:
                self._give_back_anyway(seat)

    def _take(self, route: int, tokens: array[int]) -> None:
        tray = self._trays[route]
        assert tray is not None
        rows, taken = tray.take(), False
        try:
            taken = self._takers[route].take_run(self, tokens, rows)
        except Exception:
            log.exception("requests not taken together")
        if not taken:
            self._prepare(route)
            for token in filter(self._sits, tokens):
                self._give_back_anyway(token & _SEAT)

    def answer(self, tokens: array[int], values: bytes, frame: Frame) -> list[int]:
        """Answer requests with numbers, parted by commas. Returns the places of those it cannot."""
        start, count = tokens.buffer_info()
        if self._fast is None:
            return list(range(count))
        left = self._native.fast_answer(
            self._fast, byref(frame), start, count, values, self._missed
        )
        missed = self._missed[:left]
        if self._run.odd:
            for seat in self._odds():
                connection, rest = self._sitting[seat], self._leave(seat)
                connection.stand(b"", rest)
        return missed


def _declared() -> ctypes.CDLL | None:
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
