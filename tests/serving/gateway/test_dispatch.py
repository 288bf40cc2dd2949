"""The dispatcher with real links to real processes whose model misbehaves."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from registry.models.signature import Input, Output, Signature
from serving.arena import Layout
from serving.channel import Channel
from serving.errors import DeadlinePassed, ModelFailed, Overloaded
from serving.gateway.batch import Policy
from serving.gateway.dispatch import Dispatcher
from serving.gateway.inputs import Rows
from serving.gateway.served import Served
from serving.gateway.work import Work
from serving.link import GatewayEnd, create_link
from serving.messages import Announce, Attach
from tests.serving.crashing_worker import DEADLY, RAISING, SLOW

SIGNATURE = Signature((Input("x"), Input("y")), (Output("double"),))
PATIENCE = 60.0

pytestmark = pytest.mark.usefixtures("no_fd_leaks")


class Bench:
    """A dispatcher, one generation, and processes to connect it to."""

    def __init__(self, policy: Policy) -> None:
        loop = asyncio.get_running_loop()
        self.dispatcher = Dispatcher("m", policy, loop, time.monotonic)
        self.served = self.generation(1)
        self.layout = Layout(policy.max_batch_size, 2, 1)
        self.channels: list[Channel] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.dispatcher.flip(self.served)

    @staticmethod
    def generation(number: int) -> Served:
        return Served(
            Announce("m", number, "champion", number, f"v{number}", "", 0.0, ""), SIGNATURE
        )

    def start(self, served: Served | None = None) -> subprocess.Popen[bytes]:
        """Start a process and connect it."""
        ours, theirs = Channel.pair()
        command = [sys.executable, "-m", "tests.serving.crashing_worker", str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        link = create_link(self.layout)
        ours.send(Attach(self.layout).encode(), link.for_worker)
        end: GatewayEnd[Any] = GatewayEnd(self.layout, [os.dup(d) for d in link.for_gateway])
        link.close()
        self.channels.append(ours)
        self.processes.append(process)
        self.dispatcher.connect(served or self.served, len(self.processes), end)
        return process

    def ask(
        self, *values: float, patience: float = PATIENCE, priority: int = 1
    ) -> asyncio.Future[Work]:
        """Submit one request with a row for each value."""
        answered: asyncio.Future[Work] = asyncio.get_running_loop().create_future()
        source = Rows([number for value in values for number in (value, None)], 2)
        served = self.dispatcher.active
        assert served is not None
        deadline = time.monotonic() + patience
        work = Work(
            served.encode(source), served.encoding, source, deadline, answered.set_result, priority
        )
        self.dispatcher.submit(work)
        return answered

    async def keep_at(self, count: int) -> None:
        """Replace processes that die, as the supervisor does."""
        while True:
            alive = [process for process in self.processes if process.poll() is None]
            for _ in range(count - len(alive)):
                self.start()
            await asyncio.sleep(0.01)

    def close(self) -> None:
        for channel in self.channels:
            channel.close()
        for process in self.processes:
            process.wait(PATIENCE)


@asynccontextmanager
async def bench(workers: int = 1, **policy: Any) -> AsyncIterator[Bench]:
    made = Bench(Policy(**policy))
    for _ in range(workers):
        made.start()
    keeper = asyncio.create_task(made.keep_at(workers)) if workers else None
    try:
        yield made
    finally:
        if keeper is not None:
            keeper.cancel()
        active = made.dispatcher.active
        assert active is not None
        made.dispatcher.retire(active, lambda: None)
        made.close()


def running(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test that runs on an event loop of its own."""

    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 2 * PATIENCE))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def doubled(work: Work) -> list[float]:
    assert work.error is None
    assert work.result is not None
    values: list[float] = work.result[:, 0].tolist()
    return values


@running
async def test_only_the_row_that_kills_is_refused() -> None:
    async with bench(workers=2) as made:
        good = [made.ask(float(value)) for value in range(100, 120)]
        bad = made.ask(1.0, DEADLY)
        more = [made.ask(float(value)) for value in range(120, 140)]
        for value, answered in enumerate([*good, *more], start=100):
            expected = value * 2
            assert doubled(await answered) == [expected]
        assert isinstance((await bad).error, ModelFailed)


@running
async def test_only_the_row_that_raises_fails() -> None:
    async with bench() as made:
        asked = [made.ask(value) for value in (1.0, RAISING, 3.0)]
        works = await asyncio.gather(*asked)
        assert isinstance(works[1].error, ModelFailed)
        assert "thirteen" not in str(works[1].error)
        assert [doubled(works[0]), doubled(works[2])] == [[2.0], [6.0]]


@running
async def test_a_large_request_is_split_and_put_together() -> None:
    async with bench(workers=2, max_batch_size=16) as made:
        values = [float(value) for value in range(1000, 1500)]
        work = await made.ask(*values)
        np.testing.assert_array_equal(work.result, np.array(values).reshape(-1, 1) * 2)


@running
async def test_queue_is_bounded_and_refuses_at_once() -> None:
    async with bench(workers=0, max_queue_rows=3) as made:
        waiting = [made.ask(1.0), made.ask(2.0), made.ask(3.0)]
        with pytest.raises(Overloaded):
            made.ask(4.0)
        made.start()
        assert [doubled(await answered) for answered in waiting] == [[2.0], [4.0], [6.0]]


@running
async def test_deadline_passes_while_waiting_and_while_computing() -> None:
    async with bench() as made:
        slow, late = made.ask(SLOW, patience=0.0), made.ask(1.0, patience=0.0)
        made.dispatcher.expire()
        for answered in (slow, late):
            assert isinstance((await answered).error, DeadlinePassed)
        assert doubled(await made.ask(2.0)) == [4.0]


@running
async def test_cancelled_rows_are_not_computed() -> None:
    async with bench(workers=0) as made:
        cancelled = made.ask(DEADLY)
        (work,) = made.dispatcher._model.batcher._works
        made.dispatcher.cancel(work)
        process = made.start()
        assert doubled(await made.ask(2.0)) == [4.0]
        assert process.poll() is None
        assert not cancelled.done()


@running
async def test_old_generation_finishes_its_batches_before_it_retires() -> None:
    async with bench() as made:
        old = made.served
        slow = made.ask(SLOW)
        # One turn of the loop: the request is lent to the process.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert old.busy
        newer = made.generation(2)
        made.start(newer)
        made.dispatcher.flip(newer)
        retired: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        made.dispatcher.retire(old, lambda: retired.set_result(None))
        assert not retired.done()
        fresh = await made.ask(3.0)
        await retired
        assert (await slow).pin is old
        assert fresh.pin is newer
        assert old.links == {}


@running
async def test_a_batch_waits_for_company_when_told_to() -> None:
    async with bench(max_queue_delay=0.05) as made:
        works = await asyncio.gather(made.ask(1.0), made.ask(2.0))
        assert [doubled(work) for work in works] == [[2.0], [4.0]]
        assert sum(made.served.tally.rows.counts) == sum(made.served.tally.link.counts) == 1
        assert made.served.tally.rows.sum == 2


@running
async def test_only_what_is_urgent_may_wait_longer_than_the_limit() -> None:
    async with bench(max_batch_size=1, max_queue_wait=0.001) as made:
        await made.ask(SLOW)  # its pace is known now
        first = made.ask(SLOW)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        second = made.ask(1.0)  # nothing waits yet
        with pytest.raises(Overloaded, match="too long"):
            made.ask(2.0)
        urgent = made.ask(3.0, priority=0)
        assert doubled(await urgent) == [6.0]
        assert doubled(await second) == [2.0]
        await first


@running
async def test_what_is_said_of_a_generation_that_was_left_stops_nobody() -> None:
    """The last worker of a bad model may end when all requests go to another already."""
    async with bench() as made:
        newer = made.generation(2)
        made.start(newer)
        made.dispatcher.flip(newer)
        made.dispatcher.suspend(1, "its workers keep ending")
        assert doubled(await made.ask(1.0)) == [2.0]
        made.dispatcher.suspend(2, "its workers keep ending")
        made.dispatcher.suspend(1, "")
        with pytest.raises(Overloaded, match="keep ending"):
            made.ask(1.0)
        made.dispatcher.suspend(2, "")
        assert doubled(await made.ask(1.0)) == [2.0]
        made.dispatcher.retire(made.served, lambda: None)
