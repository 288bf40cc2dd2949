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
from ctypes import byref, c_int64, c_void_p
from random import getrandbits
from typing import TYPE_CHECKING

from registry.logs import get_logger
from serving.gateway.plain import Tray
from serving.gateway.seats import EVENTS, ROUTES, Frame, Route, Run, declared

if TYPE_CHECKING:
    from serving.gateway.dispatch import Dispatcher
    from serving.gateway.group import Client
    from serving.gateway.heads import Gathers, Head
    from serving.gateway.seated import SeatedGroup

log = get_logger(__name__)

#: The part of a token that is the number of a seat.
_SEAT = 0xFFFFFFFF


class FastPath:
    """The seats of one gateway. Everything runs on the event loop."""

    def __init__(self, native: ctypes.CDLL, seats: int, loop: asyncio.AbstractEventLoop) -> None:
        """Raises OSError: there is no memory, or no descriptor."""
        self._native = native
        self._fast = native.fast_open(seats, b"%016x" % getrandbits(64), getrandbits(62) + 1)
        if not self._fast:
            raise OSError("no seats")
        self._run = Run.from_address(self._fast)
        self._routes = (Route * ROUTES).from_address(native.fast_routes(self._fast))
        self._takers: list[Gathers] = []
        self._trays: list[Tray | None] = []
        self._known: set[bytes] = set()
        self._heads: list[Head] = []
        self._sitting: dict[int, Client] = {}
        #: Groups of which some may still sit.
        self.flying: set[SeatedGroup] = set()
        #: Who has to build batches when the turn is over.
        self.queued: dict[Dispatcher, None] = {}
        self._missed = (c_int64 * EVENTS)()
        self._loop = loop
        loop.add_reader(native.fast_fileno(self._fast), self._turn)

    @classmethod
    def open(cls, seats: int, loop: asyncio.AbstractEventLoop) -> FastPath | None:
        """With so many seats; None where the native code was not built, or has no room."""
        native = declared()
        try:
            return cls(native, seats, loop) if native is not None else None
        except OSError as error:
            log.warning("connections are not read by native code", reason=str(error))
            return None

    def close(self) -> None:
        """Give all connections back, and close."""
        self.clear()
        self._loop.remove_reader(self._native.fast_fileno(self._fast))
        self._native.fast_close(self._fast)
        self._fast = None

    # heads ------------------------------------------------------------------------------------

    def know(self, head: Head) -> bool:
        """Let requests that begin with a head be taken by what gathers them. False: not these."""
        if head.text in self._known:
            return True
        route = self._route(head.gather)
        if route < 0 or not self._native.fast_know(
            self._fast, head.text, len(head.text), head.size, route
        ):
            return False
        self._known.add(head.text)
        self._heads.append(head)
        return True

    def _route(self, taker: Gathers | None) -> int:
        """The number of what gathers requests; -1 if it may not, or if there are too many."""
        if taker is None:
            return -1
        if taker not in self._takers:
            # Anybody can name a model that is not there.
            if len(self._takers) == ROUTES or taker.prepare() is None:
                return -1
            self._takers.append(taker)
            self._trays.append(None)
        route = self._takers.index(taker)
        self._prepare(route)
        return route

    def forget(self) -> None:
        """Know no head any more."""
        for group in list(self.flying):
            # Once they are out of their seats, their heads are needed no longer.
            group.leave_all()
        for route in range(len(self._takers)):
            self._routes[route].plan = None
        for known in (self._known, self._heads, self._takers, self._trays):
            known.clear()
        self._native.fast_forget(self._fast)
        self.clear()

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
            self._routes[route] = Route(tray.form == "rows", tray.address, most)

    # connections ------------------------------------------------------------------------------

    def seat(self, connection: Client, descriptor: int, head: Head) -> int:
        """Read and answer for a connection that sends such heads; its seat, or -1 if there is none."""
        if not self.know(head):
            return -1
        self._route(head.gather)
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
        more = first = True
        while more:
            more = bool(self._native.fast_turn(self._fast))
            run = self._run
            odds = self._odds() if run.odd else ()
            if run.count:
                self._take(run.route, array("Q", run.tokens[: run.count]), first and not more)
            for seat in odds:
                self._give_back_anyway(seat)
            first = False
        while self.queued:
            self.queued.popitem()[0].pump()

    def _take(self, route: int, tokens: array[int], alone: bool) -> None:
        taken = False
        try:
            tray = self._trays[route]
            assert tray is not None
            taken = self._takers[route].take_run(self, tokens, tray.take(), alone=alone)
            if not taken:
                self._prepare(route)
            elif len(tokens) >= tray.rows:
                # A full batch need not wait for the end of the turn.
                while self.queued:
                    self.queued.popitem()[0].pump()
        except Exception:
            log.exception("requests not taken together")
        if not taken:
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
                self._let_go(seat)
        return missed

    def _let_go(self, seat: int) -> None:
        """Take a seat away from who was answered; what is there of the answer is still to be sent."""
        connection, rest = self._sitting[seat], self._leave(seat)
        try:
            connection.stand(b"", rest)
        except Exception:
            log.exception("connection failed")
