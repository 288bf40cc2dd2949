"""Requests that are gathered: answered together, and yet each as if it had come alone."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import numpy as np
import pytest

from registry.models.signature import Input, Output, Signature
from registry.models.stages import Recorded, Stages, StageUse
from serving.gateway.access import AccessLog
from serving.gateway.app import App
from serving.gateway.catalog import Catalog
from serving.gateway.group import Group
from serving.gateway.heads import Heads
from serving.gateway.http import Connection
from serving.gateway.inference import ROWS, TENSORS, Inference
from serving.gateway.metrics import Metrics
from serving.gateway.plain import library
from serving.gateway.protocols.template import Template
from serving.gateway.sampler import Sampler
from serving.gateway.scraping import Scraping
from serving.gateway.served import Served
from serving.gateway.server import HttpServer, Limits
from serving.gateway.state import State
from serving.gateway.trial import Trial
from serving.gateway.work import Work
from serving.messages import Announce
from serving.options import Options
from tests.serving.crashing_worker import DEADLY, RAISING, SLOW
from tests.serving.gateway.test_dispatch import PATIENCE, SIGNATURE, Bench, bench, running
from tests.serving.gateway.test_http import FakeTransport

pytestmark = [
    pytest.mark.usefixtures("no_fd_leaks"),
    pytest.mark.skipif(library() is None, reason="built without a C compiler"),
]

INFER, INVOCATIONS = "/v2/models/m/infer", "/invocations"
HEAD = "POST {} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n"
Answer = tuple[int, dict[str, str], Any]


def encode(*values: float, path: str = INFER) -> bytes:
    """A plain request with a row for each value. One is as long as another of as many rows."""
    rows = ",".join(f"[{value:<10g},null]" for value in values)
    tensor = f'{{"name":"x","shape":[{len(values)}, 2],"datatype":"FP64","data":[{rows}]}}'
    body = f'{{"inputs":[{tensor}]}}' if path == INFER else f'{{"instances":[{rows}]}}'
    return (HEAD.format(path, len(body)) + body).encode()


class Client:
    """A connection, and the answers that came on it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.transport = FakeTransport()
        connection.connection_made(self.transport)

    def send(self, *values: float, path: str = INFER) -> Client:
        self.connection.data_received(encode(*values, path=path))
        return self

    @property
    def answers(self) -> list[Answer]:
        """Status, headers and content of each."""
        data, found = self.transport.written, []
        while data:
            head, _, data = data.partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            size = int(headers["content-length"])
            found.append((int(first.split()[1]), headers, json.loads(data[:size])))
            data = data[size:]
        return found

    async def answer(self, number: int = 0) -> Answer:
        """The answer to request `number`, once it is there."""
        deadline = time.monotonic() + PATIENCE
        while len(self.answers) <= number:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.001)
        return self.answers[number]

    async def doubled(self, number: int = 0) -> list[float]:
        """The numbers of a good answer."""
        status, _, content = await self.answer(number)
        assert status == 200, content
        given = (
            content["predictions"] if "predictions" in content else content["outputs"][0]["data"]
        )
        return list(given)


class Desk:
    """A gateway's way from connections to the dispatcher of a `Bench`."""

    def __init__(self, made: Bench, **options: Any) -> None:
        loop = asyncio.get_running_loop()
        given = Options(**options)
        self.bench = made
        self.catalog = Catalog(["m"], given, loop, time.monotonic)
        self.catalog._dispatchers["m"] = made.dispatcher
        self.metrics = Metrics()
        #: Requests in each work that was submitted.
        self.submitted: list[int] = []
        self._submit, made.dispatcher.submit = made.dispatcher.submit, self._count  # type: ignore[method-assign]
        inference = Inference(
            self.catalog, time.monotonic, given.request_timeout, None, loop.call_soon
        )
        self.app = App(
            self.catalog, inference, self.metrics, State("x"), lambda _: None, 1 << 20,
            Scraping(self.metrics, lambda _: None),
        )  # fmt: skip
        self.server = HttpServer(
            self.app.handle, Limits(), 100, time.monotonic, gather=self.app.gather
        )

    def _count(self, work: Work, *, pump: bool = True) -> None:
        self.submitted.append(work.requests)
        self._submit(work, pump=pump)

    def clients(self, count: int) -> list[Client]:
        return [Client(self.server()) for _ in range(count)]

    async def learn(self, *paths: str) -> None:
        """Have the heads of requests of one row learned, which takes the way of the others."""
        (client,) = self.clients(1)
        for path in paths or (INFER,):
            client.send(1.0, path=path)
            await client.answer(len(client.answers))
        client.connection.connection_lost(None)

    @property
    def batches(self) -> list[int]:
        """How many batches were computed, and their rows."""
        rows = self.bench.served.tally.rows
        return [rows.count, int(rows.sum)]


def announced(number: int) -> Announce:
    return Announce("m", number, "champion", number, f"v{number}", "", 0.0, "")


async def stranded(opened: Desk) -> None:
    """Learn a head, and then be without a worker."""
    process = opened.bench.start()
    await opened.learn()
    process.kill()
    process.wait()
    await asyncio.sleep(0.05)


async def waiting(opened: Desk, *values: float) -> list[Client]:
    """Clients that ask for a value each, in one turn, and wait for a worker to come."""
    await stranded(opened)
    clients = opened.clients(len(values))
    for client, value in zip(clients, values, strict=True):
        client.send(value)
    await asyncio.sleep(0.01)
    return clients


@asynccontextmanager
async def desk(workers: int = 1, policy: dict[str, Any] | None = None, **options: Any) -> Any:
    async with bench(workers, **(policy or {})) as made:
        yield Desk(made, **options)


@running
async def test_requests_of_one_turn_are_one_batch_and_each_has_its_own_answer() -> None:
    async with desk() as opened:
        await opened.learn(INFER, INVOCATIONS)
        before = opened.batches
        clients = opened.clients(9)
        for number, client in enumerate(clients):
            client.send(float(number))
        assert [await client.doubled() for client in clients] == [[2.0 * n] for n in range(9)]
        assert opened.batches == [before[0] + 1, before[1] + 9]
        assert opened.submitted == [1, 1, 9]
        names = [client.answers[0][1]["x-request-id"] for client in clients]
        assert len(set(names)) == 9
        traces = [client.answers[0][1]["traceparent"] for client in clients]
        assert all(
            re.fullmatch(f"00-{n}-[0-9a-f]{{16}}-00", t) for n, t in zip(names, traces, strict=True)
        )
        assert opened.bench.dispatcher.gauges()["pending_request_count"][1] == 0


@pytest.mark.parametrize("path", [INFER, INVOCATIONS])
@pytest.mark.parametrize("rows", [1, 3])
def test_the_answer_is_that_of_a_request_that_is_not_gathered(path: str, rows: int) -> None:
    @running
    async def check() -> None:
        async with desk() as opened:
            clients = opened.clients(3)
            values = [2.5, -1.25, 3e-7][:rows]
            clients[0].send(*values, path=path)  # its head is not known yet
            first = await clients[0].answer()
            for client in clients[1:]:
                client.send(*values, path=path)
            for client in clients[1:]:
                status, headers, content = await client.answer()
                assert list(headers) == list(first[1])
                named = ("x-request-id", "traceparent")
                assert {k: v for k, v in headers.items() if k not in named} == {
                    k: v for k, v in first[1].items() if k not in named
                }
                assert (status, content) == (first[0], first[2])

    check()


@pytest.mark.parametrize("bad", [RAISING, DEADLY])
def test_only_the_request_with_the_bad_row_fails(bad: float) -> None:
    """Of the workers, as many die as for a request that came alone in its company."""

    @running
    async def check() -> None:
        async with desk() as opened:
            await opened.learn()
            clients = opened.clients(6)
            values = [101.0, 102.0, bad, 103.0, 104.0, 105.0]
            for client, value in zip(clients, values, strict=True):
                client.send(value)
            for client, value in zip(clients, values, strict=True):
                if value == bad:
                    assert (await client.answer())[0] == 500
                else:
                    assert await client.doubled() == [2 * value]
            assert all(len(client.answers) == 1 for client in clients)
            assert opened.submitted == [1, 6]
            dead = [p for p in opened.bench.processes if p.poll() is not None]
            assert len(dead) == (3 if bad == DEADLY else 0)
            again = clients[2].send(100.0)
            assert await again.doubled(1) == [200.0]

    check()


@running
async def test_a_client_that_goes_takes_nobody_with_it() -> None:
    async with desk() as opened:
        await opened.learn()
        clients = opened.clients(3)
        for number, client in enumerate(clients):
            client.send(float(number))
        clients[1].connection.connection_lost(None)
        assert await clients[0].doubled() == [0.0]
        assert await clients[2].doubled() == [4.0]
        assert clients[1].answers == []


@running
async def test_nothing_is_computed_for_clients_that_have_all_gone() -> None:
    async with desk() as opened:
        await opened.learn()
        before = opened.batches
        early, late = opened.clients(2), opened.clients(2)
        for client in early:
            client.send(1.0)
            client.connection.connection_lost(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        # The worker is busy while these two wait in the queue.
        opened.bench.ask(SLOW), opened.bench.ask(SLOW), opened.bench.ask(SLOW)
        await asyncio.sleep(0.01)
        for client in late:
            client.send(1.0)
        await asyncio.sleep(0.01)
        for client in late:
            client.connection.connection_lost(None)
        assert opened.bench.dispatcher.rows == 0
        await asyncio.sleep(0.5)
        assert opened.batches[1] == before[1] + 3


@pytest.mark.parametrize("how", ["half closed", "drained"])
def test_the_last_answer_says_that_it_is(how: str) -> None:
    @running
    async def check() -> None:
        async with desk() as opened:
            await opened.learn()
            last, other = opened.clients(2)
            last.send(1.0)
            other.send(2.0)
            if how == "half closed":
                assert last.connection.eof_received()
            else:
                opened.server.closing = True
            assert await last.doubled() == [2.0]
            assert last.answers[0][1]["connection"] == "close"
            assert last.transport.ended or last.transport.closed
            assert await other.doubled() == [4.0]
            assert ("connection" in other.answers[0][1]) == (how == "drained")

    check()


@running
async def test_what_comes_behind_a_gathered_request_is_answered_behind_it() -> None:
    async with desk() as opened:
        await opened.learn()
        (client,) = opened.clients(1)
        client.send(1.0)
        client.send(2.0).send(3.0)
        client.connection.data_received(b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await client.answer(3))[0] == 404
        assert [await client.doubled(number) for number in range(3)] == [[2.0], [4.0], [6.0]]


@running
async def test_a_wrong_request_behind_a_gathered_one_closes_after_its_answer() -> None:
    async with desk() as opened:
        await opened.learn()
        (client,) = opened.clients(1)
        client.send(1.0)
        client.connection.data_received(b"nonsense\r\n\r\n")
        assert await client.doubled() == [2.0]
        status, headers, _ = await client.answer(1)
        assert (status, headers["connection"]) == (400, "close")


@running
async def test_a_queue_with_room_for_some_takes_some() -> None:
    async with desk(workers=0, policy={"max_queue_rows": 3}) as opened:
        await stranded(opened)
        clients = opened.clients(5)
        for number, client in enumerate(clients):
            client.send(float(number))
        refused = [await client.answer() for client in clients[3:]]
        assert [(status, headers["retry-after"]) for status, headers, _ in refused] == [
            (503, "1"), (503, "1"),
        ]  # fmt: skip
        assert all(client.answers == [] for client in clients[:3])
        opened.bench.start()
        assert [await client.doubled() for client in clients[:3]] == [[0.0], [2.0], [4.0]]


@running
async def test_each_is_told_that_its_deadline_has_passed() -> None:
    async with desk(workers=0, request_timeout=0.2) as opened:
        clients = await waiting(opened, 1.0, 1.0, 1.0)
        await asyncio.sleep(0.3)
        opened.bench.dispatcher.expire()
        assert [(await client.answer())[0] for client in clients] == [504] * 3


@running
async def test_a_generation_that_comes_meanwhile_answers() -> None:
    async with desk(workers=0) as opened:
        clients = await waiting(opened, 4.0, 4.0)
        newer = opened.bench.generation(2)
        opened.bench.dispatcher.flip(newer)
        opened.bench.start(newer)
        for client in clients:
            assert await client.doubled() == [8.0]
            assert client.answers[0][1]["x-model-revision"] == "2"


@running
async def test_every_request_counts() -> None:
    async with desk() as opened:
        await opened.learn()
        served = opened.bench.served
        served.trial = Trial(5)
        opened.bench.dispatcher.flip(served)
        before = served.tally.request.count, served.tally.queue.count
        for client in opened.clients(4):
            client.send(1.0)
        await asyncio.sleep(0.1)
        assert (served.tally.request.count, served.tally.queue.count) == (
            before[0] + 4, before[1] + 4,
        )  # fmt: skip
        assert opened.bench.dispatcher.tried() == (1, 4, 0)


@running
async def test_a_model_that_is_suspended_refuses() -> None:
    async with desk() as opened:
        await opened.learn()
        opened.bench.dispatcher.suspend(1, "it keeps ending")
        (client,) = opened.clients(1)
        status, _, content = await client.send(1.0).answer()
        assert (status, "keeps ending" in content["error"]) == (503, True)


@running
async def test_a_request_that_no_longer_fits_is_told_so() -> None:
    """A generation with other inputs comes while two requests wait."""
    async with desk(workers=0) as opened:
        clients = await waiting(opened, 4.0, 4.0)
        wider = Signature((*SIGNATURE.inputs, Input("z")), SIGNATURE.outputs)
        opened.bench.dispatcher.flip(Served(announced(2), wider))
        opened.bench.start(opened.bench.dispatcher.active)
        for client in clients:
            status, _, content = await client.answer()
            assert status == 400
            assert "x, y, z" in content["error"]


@running
async def test_a_generation_with_stages_takes_them_one_by_one() -> None:
    """A group that waits, one that is only opened, and one row that fails."""
    async with desk(workers=0) as opened:
        await stranded(opened)
        waiting, late = opened.clients(3), opened.clients(2)
        for client, value in zip(waiting, (1.0, RAISING, 3.0), strict=True):
            client.send(value)
        await asyncio.sleep(0.01)
        for client in late:
            client.send(5.0)
        use = StageUse("usecase", "stage", 1, SIGNATURE.inputs, ("a",), Recorded((), (), 0.0))
        dispatcher = opened.bench.dispatcher
        dispatcher.flip(Served(announced(2), SIGNATURE, stages=Stages(post=use)))
        await asyncio.sleep(0.01)
        assert dispatcher.gauges()["pending_request_count"][1] == 5
        model, post = (dispatcher._lanes[place].batcher for place in ("model", "post"))
        while dispatcher.rows:
            batch = model.take(time.monotonic())
            if batch is not None and RAISING in batch.matrix()[:, 0]:
                model.failed(batch)
            elif batch is not None:
                model.done(batch, batch.matrix()[:, :1] * 2)
            if (batch := post.take(time.monotonic())) is not None:
                post.done(batch, batch.matrix())
        statuses = [(await client.answer())[0] for client in (*waiting, *late)]
        assert statuses == [200, 500, 200, 200, 200]
        dispatcher.flip(opened.bench.served)


@running
async def test_a_bad_row_in_a_group_of_two_batches() -> None:
    """It is the only one of the second; that does not make it the only request."""
    async with desk(workers=2, policy={"max_batch_size": 3}) as opened:
        await opened.learn()
        first, second = opened.clients(2)
        await first.send(10.0, 11.0, 12.0).answer()  # a head that is known then
        first.send(1.0)
        second.send(10.0, 11.0, RAISING)
        assert await first.doubled(1) == [2.0]
        assert (await second.answer())[0] == 500
        assert opened.submitted[-1] == 2
        assert opened.bench.dispatcher.rows == 0


@running
async def test_what_nobody_waits_for_any_more_is_not_counted() -> None:
    async with desk() as opened:
        await opened.learn()
        served = opened.bench.served
        served.trial = Trial(5)
        opened.bench.dispatcher.flip(served)
        before = served.tally.request.count, served.tally.queue.count
        clients = opened.clients(4)
        for client in clients[:2]:
            client.send(1.0)
            client.connection.connection_lost(None)
        for client in clients[2:]:
            client.send(1.0)
        await asyncio.sleep(0)
        clients[2].connection.connection_lost(None)
        assert await clients[3].doubled() == [2.0]
        counts = served.tally.request.count, served.tally.queue.count
        assert counts == (before[0] + 1, before[1] + 1)
        assert opened.bench.dispatcher.tried() == (1, 1, 0)


@running
async def test_both_protocols_in_one_turn_are_one_batch() -> None:
    async with desk() as opened:
        await opened.learn(INFER, INVOCATIONS)
        before = opened.batches
        one, other = opened.clients(2)
        one.send(1.0)
        other.send(2.0, path=INVOCATIONS)
        assert (await one.doubled(), await other.doubled()) == ([2.0], [4.0])
        assert opened.batches == [before[0] + 1, before[1] + 2]


@running
async def test_rows_that_wait_for_company_are_not_gathered() -> None:
    """Else a row that is computed would wait with one of the same turn that is not."""
    async with desk(policy={"max_batch_size": 4, "max_queue_delay": 0.3}) as opened:
        await opened.learn()
        first, second = opened.clients(3), opened.clients(3)
        for client in first:
            client.send(1.0)
        await asyncio.sleep(0.01)
        begun = time.monotonic()
        for client in second:
            client.send(2.0)
        assert await second[0].doubled() == [4.0]
        assert not second[1].answers
        assert await second[2].doubled() == [4.0]
        assert time.monotonic() - begun >= 0.2
        assert set(opened.submitted) == {1}


@running
async def test_what_goes_wrong_unforeseen_is_answered() -> None:
    async with desk() as opened:
        await opened.learn()
        clients = opened.clients(2)

        def broken(*_: Any, **__: Any) -> None:
            raise RuntimeError("unforeseen")

        opened.bench.dispatcher.submit = broken
        for client in clients:
            client.send(1.0)
        assert [(await client.answer())[0] for client in clients] == [500, 500]
        del opened.bench.dispatcher.submit
        assert await clients[0].send(2.0).doubled(1) == [4.0]


@running
async def test_groups_go_as_soon_as_they_are_answered() -> None:
    """Else bodies would wait for the collector of cycles."""
    async with desk() as opened:
        await opened.learn()
        gc.collect()
        gc.disable()
        try:
            clients = opened.clients(3)
            for client, value in zip(clients, (1.0, RAISING, 3.0), strict=True):
                client.send(value)
            for client in clients:
                await client.answer()
            await asyncio.sleep(0.01)
            kept = [each for each in gc.get_objects() if isinstance(each, Group)]
        finally:
            gc.enable()
        assert kept == []


def test_numbers_of_every_kind_are_written_as_in_a_single_answer() -> None:
    two = Signature(SIGNATURE.inputs, (Output("double"), Output("half")))
    for signature, values in (
        (SIGNATURE, [[np.nan], [-0.0], [1e-320], [np.inf], [0.1]]),
        (two, [[np.nan, 1.0], [2.0, -np.inf]]),
    ):
        template = Template("m", "v", signature)
        result = np.array(values)
        for form in (TENSORS, ROWS):
            group = Group(form, None, None, time.monotonic, lambda *_: None)  # type: ignore[arg-type]
            group._rows += [1] * len(result)
            wanted = [form.body(template, result[i : i + 1]) for i in range(len(result))]
            assert group._bodies(template, result) == wanted


@running
async def test_more_than_a_batch_goes_off_before_the_turn_ends() -> None:
    async with desk(policy={"max_batch_size": 4}) as opened:
        await opened.learn()
        before = opened.batches
        clients = opened.clients(11)
        for number, client in enumerate(clients):
            client.send(float(number % 10))
        assert opened.bench.served.busy
        assert [await client.doubled() for client in clients] == [
            [2.0 * (number % 10)] for number in range(11)
        ]
        assert opened.batches[1] == before[1] + 11


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.replace(b'"x"', b'1.5'),
        lambda data: data.replace(b"[1, 2]", b"[2, 1]"),
        lambda data: data.replace(b"null", b"nule"),
        lambda data: data.replace(b'"FP64"', b'"FP65"'),
    ],
)  # fmt: skip
def test_what_is_not_plain_spoils_nothing(spoil: Callable[[bytes], bytes]) -> None:
    @running
    async def check() -> None:
        async with desk() as opened:
            await opened.learn()
            clients = opened.clients(3)
            clients[0].send(1.0)
            data = spoil(encode(2.0))
            assert data != encode(2.0)
            assert len(data) == len(encode(2.0))
            clients[1].connection.data_received(data)
            clients[2].send(3.0)
            assert await clients[0].doubled() == [2.0]
            assert (await clients[1].answer())[0] == 400
            assert await clients[2].doubled() == [6.0]

    check()


@running
async def test_requests_that_are_logged_each_are_not_gathered() -> None:
    async with desk() as opened:
        await opened.learn(INFER, INVOCATIONS)
        assert all(head.gather for head in opened.server.heads._known.values())
        read, write = os.pipe()
        opened.app._access = AccessLog(1.0, opened.metrics, write)
        opened.server.heads = Heads(opened.app.gather)
        await opened.learn(INFER, INVOCATIONS)
        assert not any(head.gather for head in opened.server.heads._known.values())
        os.close(write)
        os.close(read)
        sampling = Inference(opened.catalog, time.monotonic, 1.0, cast(Sampler, object()), print)
        assert sampling.gather_rows(lambda *_: None) is None
