"""The fast path: real sockets, and answers that nobody could tell from those of the long way."""

from __future__ import annotations

import asyncio
import ctypes
import json
import random
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from registry.models.signature import Input, Signature
from serving.gateway.fast import FastPath
from serving.gateway.heads import MOST
from serving.gateway.inline import Inline
from serving.gateway.plain import library
from serving.gateway.seats import ROOM, ROUTES, declared
from serving.gateway.served import Served
from serving.gateway.server import HttpServer, Limits
from serving.gateway.trial import Trial
from tests.serving.crashing_worker import DEADLY, RAISING, SLOW
from tests.serving.gateway.test_dispatch import PATIENCE, SIGNATURE, bench, running
from tests.serving.gateway.test_gather import (
    INFER,
    INVOCATIONS,
    Answer,
    Desk,
    announced,
    encode,
)

pytestmark = [
    pytest.mark.usefixtures("no_fd_leaks"),
    pytest.mark.skipif(library() is None, reason="built without a C compiler"),
]
OTHER = b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n"


class Caller:
    """A client's socket, and the connection at its other end."""

    def __init__(self, ours: socket.socket, connection: Any) -> None:
        self._socket, self.connection = ours, connection
        self._received = b""

    @property
    def sits(self) -> bool:
        """Whether its connection has a seat."""
        return bool(self.connection._seat.is_taken)

    def send(self, *values: float, path: str = INFER) -> Caller:
        return self.say(encode(*values, path=path))

    def say(self, data: bytes) -> Caller:
        self._socket.sendall(data)
        return self

    async def _more(self) -> bytes:
        loop = asyncio.get_running_loop()
        return await asyncio.wait_for(loop.sock_recv(self._socket, 1 << 16), PATIENCE)

    async def answer(self) -> Answer:
        """The next answer."""
        while b"\r\n\r\n" not in self._received:
            self._received += await self._more()
        head, _, rest = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        size = int(headers["content-length"])
        while len(rest) < size:
            rest += await self._more()
        self._received = rest[size:]
        return int(first.split()[1]), headers, json.loads(rest[:size])

    async def number(self) -> float:
        """The number of a good answer."""
        status, _, content = await self.answer()
        assert status == 200, content
        found = content.get("predictions") or content["outputs"][0]["data"]
        return float(found[0])

    async def is_ended(self) -> bool:
        """Whether the other end has nothing more to say."""
        return await self._more() == b""

    def end(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()

    def reset(self) -> None:
        """Go without a word: not even what was sent is to be answered."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


class Hall:
    """A desk with seats, and callers."""

    def __init__(self, opened: Desk, seats: int) -> None:
        self.desk, self.bench = opened, opened.bench
        self._callers: list[Caller] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        fast = FastPath.open(seats, asyncio.get_running_loop())
        assert fast is not None
        self.fast = fast
        self.server = HttpServer(
            opened.app.handle, Limits(), 100, lambda: time.monotonic() + self.later,
            gather=opened.app.gather, fast=fast,
        )  # fmt: skip
        self.later = 0.0

    async def callers(self, count: int, *paths: str) -> list[Caller]:
        """So many clients with a seat, which may ask at these paths."""
        learner = self._learner = await self._caller()
        for path in (paths := paths or (INFER,)):
            await learner.send(1.0, path=path).answer()
        made = [await self._caller() for _ in range(count)]
        for caller in made:
            await caller.send(1.0, path=paths[0]).answer()
        assert all(caller.sits for caller in made)
        return made

    async def _caller(self) -> Caller:
        ours = socket.create_connection(self._listener.getsockname())
        ours.setblocking(False)
        theirs, _ = self._listener.accept()
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        _, connection = await loop.connect_accepted_socket(self.server, theirs)
        self._callers.append(Caller(ours, connection))
        return self._callers[-1]

    async def close(self) -> None:
        for caller in self._callers:
            caller.close()
        self.server.closing = True
        while self.server.connections:
            self.server.close_idle()
            await asyncio.sleep(0.001)
        self._listener.close()


@asynccontextmanager
async def hall(workers: int = 1, seats: int = 16, **policy: Any) -> AsyncIterator[Hall]:
    async with bench(workers, **policy) as made:
        opened = Hall(Desk(made), seats)
        try:
            yield opened
        finally:
            await opened.close()


class Doubling:
    """A model for the gateway itself."""

    def predict(self, rows: Any) -> Any:
        return np.ascontiguousarray(rows[:, :1] * 2)

    def close(self) -> None:
        """Nothing to free."""


async def stuck(opened: Hall) -> None:
    """Keep the only worker busy, so that what comes next waits."""
    for _ in range(2):
        opened.bench.ask(SLOW)
    await asyncio.sleep(0.01)


@pytest.mark.parametrize("path", [INFER, INVOCATIONS])
@pytest.mark.parametrize("value", [2.5, -1.25, 3e-7, 0.0, 1e20])
def test_the_answer_is_that_of_the_long_way(path: str, value: float) -> None:
    @running
    async def check() -> None:
        async with hall() as opened:
            caller = await opened._caller()
            long = await caller.send(value, path=path).answer()
            await caller.send(value, path=path).answer()
            assert caller.sits
            short = await caller.send(value, path=path).answer()
            assert caller.sits
            named = ("x-request-id", "traceparent")
            assert list(short[1]) == list(long[1])
            for name in named:
                assert len(short[1][name]) == len(long[1][name])
                assert short[1].pop(name) != long[1].pop(name)
            assert short == long
            assert short[1]["x-model-name"] == "m"

    check()


@running
async def test_requests_that_come_together_are_one_batch() -> None:
    async with hall() as opened:
        callers = await opened.callers(9)
        before = opened.desk.batches
        for value, caller in enumerate(callers):
            caller.send(float(value))
        assert [await caller.number() for caller in callers] == [2.0 * n for n in range(9)]
        assert opened.desk.batches[1] == before[1] + 9
        assert opened.desk.batches[0] <= before[0] + 2
        assert all(caller.sits for caller in callers)


@running
async def test_two_endpoints_in_one_turn() -> None:
    async with hall() as opened:
        callers = await opened.callers(6, INFER, INVOCATIONS)
        for _ in range(2):
            for value, caller in enumerate(callers):
                caller.send(float(value), path=INVOCATIONS if value % 2 else INFER)
            assert [await caller.number() for caller in callers] == [2.0 * n for n in range(6)]
            assert all(caller.sits for caller in callers)


@running
async def test_more_requests_than_a_batch_has_room_for() -> None:
    async with hall(seats=40, max_batch_size=4) as opened:
        callers = await opened.callers(33)
        for value, caller in enumerate(callers, start=100):
            caller.send(float(value))
        assert [await caller.number() for caller in callers] == [2.0 * n for n in range(100, 133)]


@pytest.mark.parametrize("bad", [RAISING, DEADLY])
def test_only_the_request_with_the_bad_row_fails(bad: float) -> None:
    @running
    async def check() -> None:
        async with hall() as opened:
            callers = await opened.callers(6)
            values = [101.0, 102.0, bad, 103.0, 104.0, 105.0]
            for caller, value in zip(callers, values, strict=True):
                caller.send(value)
            for caller, value in zip(callers, values, strict=True):
                if value == bad:
                    assert (await caller.answer())[0] == 500
                else:
                    assert await caller.number() == 2 * value
            for caller in callers:
                assert await caller.send(5.0).number() == 10.0
            assert not opened.fast.flying

    check()


ODD = {
    "another path": (OTHER, [404]),
    "two at once": (encode(1.0) + encode(2.0), [200, 200]),
    "one and a half": (encode(1.0) + OTHER[:9], [200]),
    "several rows": (encode(1.0, 2.0), [200]),
    "no JSON": (encode(1.0).replace(b'"FP64"', b'"FP64;'), [400]),
    "another type": (encode(1.0).replace(b"FP64", b"XX64"), [400]),
    "no HTTP": (b"\0\1\2\r\n\r\n", [400]),
    "a header more": (encode(1.0).replace(b"host: x\r\n", b"host: x\r\naccept: */*\r\n"), [200]),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_goes_the_long_way(name: str) -> None:
    @running
    async def check() -> None:
        data, statuses = ODD[name]
        async with hall() as opened:
            odd, other = await opened.callers(2)
            odd.say(data)
            other.send(3.0)
            assert [(await odd.answer())[0] for _ in statuses] == statuses
            assert await other.number() == 6.0
            if name == "one and a half":
                odd.say(OTHER[9:])
                assert (await odd.answer())[0] == 404
            elif name == "no HTTP":
                assert await odd.is_ended()
                return
            for _ in range(3):
                assert await odd.send(4.0).number() == 8.0
            assert odd.sits

    check()


@running
async def test_pieces_of_a_request_are_put_together() -> None:
    async with hall() as opened:
        (caller,) = await opened.callers(1)
        for byte in encode(4.0):
            caller.say(bytes([byte]))
            await asyncio.sleep(0)
        assert await caller.number() == 8.0


@running
async def test_a_request_larger_than_a_seat() -> None:
    async with hall() as opened:
        (caller,) = await opened.callers(1)
        body = encode(4.0).partition(b"\r\n\r\n")[2] + b" " * 2 * ROOM
        head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        assert await caller.say(head.encode() + body).number() == 8.0
        assert await caller.send(1.0).number() == 2.0


@running
async def test_what_comes_before_an_answer_is_answered_behind_it() -> None:
    async with hall() as opened:
        (caller,) = await opened.callers(1)
        await stuck(opened)
        caller.send(1.0)
        await asyncio.sleep(0.02)
        caller.send(2.0).say(OTHER)
        assert [await caller.number(), await caller.number()] == [2.0, 4.0]
        assert (await caller.answer())[0] == 404


@running
async def test_a_client_that_goes_takes_nobody_with_it() -> None:
    async with hall() as opened:
        callers = await opened.callers(3)
        await stuck(opened)
        for value, caller in enumerate(callers):
            caller.send(float(value))
        await asyncio.sleep(0.02)
        callers[1].reset()
        assert await callers[0].number() == 0.0
        assert await callers[2].number() == 4.0
        assert not opened.fast.flying


@running
async def test_nothing_is_computed_for_clients_that_have_all_gone() -> None:
    async with hall() as opened:
        callers = await opened.callers(2)
        await stuck(opened)
        before = opened.desk.batches
        for caller in callers:
            caller.send(1.0)
        await asyncio.sleep(0.02)
        for caller in callers:
            caller.reset()
        await asyncio.sleep(0.02)
        assert opened.bench.dispatcher.rows == 0
        assert not opened.fast.flying
        await asyncio.sleep(0.5)
        assert opened.desk.batches[1] == before[1] + 2


@running
async def test_a_half_closed_client_has_its_answer() -> None:
    async with hall() as opened:
        (caller,) = await opened.callers(1)
        await stuck(opened)
        caller.send(3.0)
        await asyncio.sleep(0.02)
        caller.end()
        status, headers, _ = await caller.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert await caller.is_ended()


@running
async def test_a_service_that_drains_says_so_in_the_last_answers() -> None:
    async with hall() as opened:
        waiting, idle = await opened.callers(2)
        await stuck(opened)
        waiting.send(3.0)
        await asyncio.sleep(0.02)
        opened.server.closing = True
        assert not waiting.sits
        assert not idle.sits
        for caller in (waiting, idle.send(3.0)):
            status, headers, _ = await caller.answer()
            assert (status, headers["connection"]) == (200, "close")


@running
async def test_a_client_that_does_not_read_loses_nothing() -> None:
    """Its answers fill both sockets' buffers; then the transport goes on with the rest."""
    async with hall() as opened:
        (caller,) = await opened.callers(1)
        caller._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        theirs = caller.connection._transport.get_extra_info("socket")
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        asked = 0
        while caller.sits and asked < 500:
            caller.send(1000.0 + asked)
            asked += 1
            await asyncio.sleep(0.002)
        assert not caller.sits
        answers = [await caller.number() for _ in range(asked)]
        assert answers == [2000.0 + 2 * n for n in range(asked)]


@running
async def test_an_idle_client_is_let_go_and_an_active_one_is_not() -> None:
    async with hall() as opened:
        idle, active = await opened.callers(2)
        opened.server.check_time()
        limit = opened.server.limits.idle_timeout
        for _ in range(3):
            opened.later += 0.6 * limit
            assert await active.send(1.0).number() == 2.0
            opened.server.check_time()
        assert await idle.is_ended()
        assert active.sits


@running
async def test_a_request_that_waits_is_no_idle_client() -> None:
    async with hall() as opened:
        (caller,) = await opened.callers(1)
        await stuck(opened)
        caller.send(1.0)
        await asyncio.sleep(0.02)
        opened.later += 10 * opened.server.limits.idle_timeout
        opened.server.check_time()
        assert await caller.number() == 2.0


@running
async def test_another_generation_answers_those_that_wait() -> None:
    async with hall(workers=0) as opened:
        opened.bench.start()
        callers = await opened.callers(3)
        await stuck(opened)
        for caller in callers:
            caller.send(4.0)
        await asyncio.sleep(0.02)
        newer = opened.bench.generation(2)
        opened.bench.dispatcher.flip(newer)
        opened.bench.start(newer)
        for caller in callers:
            status, headers, _ = await caller.answer()
            assert (status, headers["x-model-revision"]) == (200, "2")


@pytest.mark.parametrize("waits", [True, False])
def test_a_generation_with_other_inputs_says_so(waits: bool) -> None:
    @running
    async def check() -> None:
        async with hall(workers=0) as opened:
            opened.bench.start()
            callers = await opened.callers(3)
            await stuck(opened)
            if waits:
                for caller in callers:
                    caller.send(4.0)
                await asyncio.sleep(0.02)
            wider = Signature((*SIGNATURE.inputs, Input("z")), SIGNATURE.outputs)
            opened.bench.dispatcher.flip(Served(announced(2), wider))
            if not waits:
                for caller in callers:
                    caller.send(4.0)
            opened.bench.start(opened.bench.dispatcher.active)
            for caller in callers:
                status, _, content = await caller.answer()
                assert status == 400
                assert "x, y, z" in content["error"]

    check()


@running
async def test_a_model_that_is_suspended_refuses() -> None:
    async with hall() as opened:
        callers = await opened.callers(2)
        opened.bench.dispatcher.suspend(1, "it keeps ending")
        for caller in callers:
            status, _, content = await caller.send(1.0).answer()
            assert (status, "keeps ending" in content["error"]) == (503, True)
        opened.bench.dispatcher.suspend(1, "")
        for caller in callers:
            for _ in range(4):
                assert await caller.send(1.0).number() == 2.0
            assert caller.sits


@running
async def test_a_queue_with_room_for_some_takes_some() -> None:
    async with hall(max_queue_rows=3) as opened:
        callers = await opened.callers(5)
        await stuck(opened)
        for caller in callers:
            caller.send(4.0)
        statuses = sorted([(await caller.answer())[0] for caller in callers])
        assert statuses[-1] == 503
        assert statuses.count(200) >= 3 - 1


@running
async def test_each_is_told_that_its_deadline_has_passed() -> None:
    async with hall(workers=0) as opened:
        opened.bench.start()
        callers = await opened.callers(3)
        await stuck(opened)
        for caller in callers:
            caller.send(4.0)
        await asyncio.sleep(0.02)
        for lane in opened.bench.dispatcher._lanes.values():
            lane.batcher.expire(1e12)
        assert [(await caller.answer())[0] for caller in callers] == [504] * 3


@running
async def test_every_request_counts() -> None:
    async with hall() as opened:
        callers = await opened.callers(4)
        served = opened.bench.served
        served.trial = Trial(5)
        opened.bench.dispatcher.flip(served)
        before = served.tally.request.count
        for caller in callers:
            await caller.send(1.0).answer()
        assert served.tally.request.count == before + 4
        assert opened.bench.dispatcher.tried() == (1, 4, 0)


@running
async def test_a_few_are_predicted_at_once() -> None:
    async with hall() as opened:
        callers = await opened.callers(3)
        served = opened.bench.served
        served.inline = Inline(Doubling, 8)
        served.inline.open()
        for _ in range(50):
            served.inline.note(1, 1e-6)
        counts = served.tally.request.count, served.tally.inline
        submitted = len(opened.desk.submitted)
        for caller in callers:
            assert await caller.send(21.0).number() == 42.0
        assert (served.tally.request.count, served.tally.inline) == (counts[0] + 3, counts[1] + 3)
        assert len(opened.desk.submitted) == submitted


@running
async def test_nobody_sits_down_in_the_middle_of_a_request() -> None:
    """Its body would be taken for a request of its own."""
    async with hall() as opened:
        (caller,) = await opened.callers(1)
        await stuck(opened)
        inner = encode(1.0)
        caller.send(3.0).say(
            b"POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(inner)
        )
        assert await caller.number() == 6.0
        await asyncio.sleep(0.02)
        assert not caller.sits
        caller.say(inner)
        assert (await caller.answer())[0] == 404
        assert (await caller.say(OTHER).answer())[0] == 404


def test_what_a_seat_has_read_is_not_read_over() -> None:
    """More comes before anybody took what was odd."""
    native = declared()
    assert native is not None
    fast = native.fast_open(1, b"0" * 16, 1)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        seat = native.fast_seat(fast, theirs.fileno())
        for piece in (b"first", b"second"):
            ours.sendall(piece)
            native.fast_turn(fast)
        start = ctypes.c_void_p()
        size = native.fast_data(fast, seat, ctypes.byref(start))
        assert ctypes.string_at(start.value or 0, size) == b"first"
        assert theirs.recv(100) == b"second"
        native.fast_close(fast)


@pytest.mark.parametrize("where", ["_find", "takes"])
def test_after_a_defect_on_the_way_nobody_waits(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raising(*_: object) -> None:
        raise ZeroDivisionError

    @running
    async def check() -> None:
        async with hall() as opened:
            callers = await opened.callers(3)
            if where == "takes":
                opened.bench.served.inline = Inline(lambda: None, 8)
                monkeypatch.setattr(opened.bench.served.inline, "takes", raising)
            else:
                monkeypatch.setattr(opened.fast._takers[0], where, raising)
            for caller in callers:
                caller.send(1.0)
            if where == "takes":
                assert [(await caller.answer())[0] for caller in callers] == [500] * 3
            else:
                assert [await caller.is_ended() for caller in callers] == [True] * 3
                callers = []
            assert not opened.fast.flying
            monkeypatch.undo()
            opened.bench.served.inline = None
            for caller in callers:
                assert await caller.send(2.0).number() == 4.0

    check()


@running
async def test_names_that_mean_nothing_take_no_room() -> None:
    async with hall() as opened:
        stranger = await opened._caller()
        for number in range(ROUTES + 6):
            text = encode(1.0, path=f"/v2/models/nope{number}/infer")
            for _ in range(2):
                assert (await stranger.say(text).answer())[0] == 404
        (caller,) = await opened.callers(1)
        assert await caller.send(2.0).number() == 4.0
        assert caller.sits


@running
async def test_what_is_learned_while_heads_are_forgotten_is_known() -> None:
    async with hall() as opened:
        one, two = await opened.callers(2)
        for number in range(MOST - len(opened.server.heads._known)):
            text = encode(1.0).replace(b"host: x", b"host: y%d" % number)
            await opened._learner.say(text).answer()
        for caller, name in ((one, b"host: a"), (two, b"host: b")):
            caller.say(encode(1.0).replace(b"host: x", name))
        assert [await one.number(), await two.number()] == [2.0, 2.0]
        for caller, name in ((one, b"host: a"), (two, b"host: b")):
            for _ in range(4):
                assert await caller.say(encode(1.0).replace(b"host: x", name)).number() == 2.0
            assert caller.sits


@running
async def test_many_at_two_endpoints_are_not_predicted_one_by_one() -> None:
    async with hall(seats=40) as opened:
        callers = await opened.callers(32, INFER, INVOCATIONS)
        served = opened.bench.served
        served.inline = Inline(Doubling, 8)
        served.inline.open()
        for _ in range(50):
            served.inline.note(1, 1e-6)
        before, batches = served.tally.inline, opened.desk.batches
        for value, caller in enumerate(callers, start=100):
            caller.send(float(value), path=INVOCATIONS if value % 2 else INFER)
        answers = [await caller.number() for caller in callers]
        assert answers == [2.0 * n for n in range(100, 132)]
        assert served.tally.inline - before <= 2
        assert opened.desk.batches[0] - batches[0] <= 6


@running
async def test_who_finds_no_seat_reads_for_itself() -> None:
    async with hall(seats=1) as opened:
        await opened.callers(1)
        late = await opened._caller()
        for _ in range(4):
            assert await late.send(2.0).number() == 4.0
        assert not late.sits


@running
async def test_too_many_heads_are_forgotten_and_learned_again() -> None:
    async with hall() as opened:
        callers = await opened.callers(2)
        await stuck(opened)
        callers[0].send(2.0)
        await asyncio.sleep(0.02)
        learner = await opened._caller()
        for number in range(MOST + 3):
            text = encode(1.0).replace(b"host: x", b"host: x%d" % number)
            assert await learner.say(text).number() == 2.0
        assert await callers[0].number() == 4.0
        for caller in callers:
            for _ in range(4):
                assert await caller.send(3.0).number() == 6.0
            assert caller.sits


@pytest.mark.parametrize("seed", range(4))
def test_whatever_comes_in_whatever_order_is_answered_in_its_order(seed: int) -> None:
    """Plain and odd requests, whole and in pieces, on connections that come and go."""

    @running
    async def check() -> None:
        drawn = random.Random(seed)
        async with hall(workers=2) as opened:
            callers = await opened.callers(5)

            async def talk(caller: Caller) -> None:
                for _ in range(120):
                    value = float(drawn.randrange(100, 600))
                    kind = drawn.choice(("plain",) * 6 + ("rows", "other", "pieces", "pair"))
                    if kind == "plain":
                        assert await caller.send(value).number() == 2 * value
                    elif kind == "rows":
                        assert await caller.send(value, 1.0).number() == 2 * value
                    elif kind == "other":
                        assert (await caller.say(OTHER).answer())[0] == 404
                    elif kind == "pieces":
                        data, cut = encode(value), drawn.randrange(1, 90)
                        caller.say(data[:cut])
                        await asyncio.sleep(0)
                        assert await caller.say(data[cut:]).number() == 2 * value
                    else:
                        caller.say(encode(value) + encode(1.0))
                        assert [await caller.number(), await caller.number()] == [2 * value, 2.0]

            await asyncio.gather(*map(talk, callers))
            assert not opened.fast.flying

    check()
