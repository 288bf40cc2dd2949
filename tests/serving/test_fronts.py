"""What the supervisor tells its gateways, one by one and all together; the gateways are played."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from registry.aliases import Head
from registry.artifacts.manifest import Reference
from serving import front as module
from serving.accounts import Accounts
from serving.errors import Rejected
from serving.front import Front
from serving.fronts import Fronts
from serving.generation import Generation
from serving.messages import (
    Activate,
    Activated,
    Announce,
    Announced,
    Failed,
    Message,
    Retire,
    Retired,
    Start,
)
from serving.options import Options
from serving.pool import Pool

Answer = Callable[[Any], Message | None]


def willing(message: Any) -> Message | None:
    """What a gateway answers when all is well."""
    kinds: dict[type, Any] = {Announce: Announced, Activate: Activated, Retire: Retired}
    kind = kinds.get(type(message))
    answer: Message | None = kind(message.model, message.generation) if kind else None
    return answer


class Gateway:
    """A child that only takes notes, and answers by a function."""

    def __init__(self, answer: Answer) -> None:
        self.pid = 1
        self.ended = asyncio.Event()
        self.heard: list[str] = []
        self.messages: list[Message] = []
        self._answer = answer
        self._receive: Callable[[Any], None] = lambda _: None
        self._on_end: Callable[[], None] = lambda: None

    def listen(self, _: Any, receive: Callable[[Any], None], on_end: Callable[[], None]) -> None:
        self._receive, self._on_end = receive, on_end

    def send(self, message: Message, _: Any = ()) -> None:
        self.heard.append(type(message).__name__)
        self.messages.append(message)
        answer = self._answer(message)
        if answer is not None:
            asyncio.get_running_loop().call_soon(self._receive, answer)

    def kill(self) -> None:
        self.ended.set()
        asyncio.get_running_loop().call_soon(self._on_end)


class World:
    """Two gateways that answer as told; those that are started after them are willing."""

    def __init__(self, *answers: Answer) -> None:
        self.started: list[Gateway] = []
        self._answers = list(answers)
        self._socket = socket.socket()
        options, accounts = Options(gateways=2), Accounts(dict)
        self.fronts = Fronts(
            [Front(self, self._socket, options, ["m"], accounts, number=n) for n in range(2)],  # type: ignore[arg-type]
            accounts,
        )

    async def start(self, role: str, title: str) -> Gateway:
        assert (role, title) == ("gateway", "pen:gateway")
        gateway = Gateway(self._answers.pop(0) if self._answers else willing)
        self.started.append(gateway)
        return gateway

    def close(self) -> None:
        self._socket.close()


def pool(number: int = 1) -> Pool:
    head = Head(
        "m",
        "champion",
        number,
        Reference("manifests/m.json", "0" * 16, "a" * 64, "b" * 64),
        "w",
        "tester",
    )
    assert head.live is not None
    return Pool(Generation(number, head, head.live), None, Options())  # type: ignore[arg-type]


@pytest.fixture(params=[0, 1])
def place(request: pytest.FixtureRequest) -> int:
    """Which of two gateways misbehaves."""
    number: int = request.param
    return number


def play(place: int, odd: Answer, act: Callable[[World], Coroutine[Any, Any, None]]) -> World:
    answers: list[Answer] = [willing, willing]
    answers[place] = odd

    async def run() -> World:
        world = World(*answers)
        try:
            await world.fronts.start()
            await act(world)
        finally:
            world.close()
        return world

    return asyncio.run(run())


def test_no_gateway_flips_before_each_has_said_that_it_can(place: int) -> None:
    def unable(message: Any) -> Message | None:
        if isinstance(message, Announce):
            return Failed("m", message.generation, "not a signature of mine")
        return willing(message)

    async def act(world: World) -> None:
        with pytest.raises(Rejected, match="of mine"):
            await world.fronts.activate(pool())

    for gateway in play(place, unable, act).started:
        assert gateway.heard[-2:] == ["Announce", "Retire"]


def test_a_gateway_that_does_not_answer_is_ended_and_the_next_is_told_again(
    place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)

    def hung(message: Any) -> Message | None:
        return None if isinstance(message, Activate) else willing(message)

    async def act(world: World) -> None:
        await world.fronts.activate(pool())

    started = play(place, hung, act).started
    assert len(started) == 3
    assert started[2].heard[:2] == [Start.__name__, "Tokens"]
    assert started[2].heard[-3:] == ["Announce", "Activate", "Open"]


def test_a_generation_is_retired_when_every_gateway_has_let_go(place: int) -> None:
    waiting = asyncio.Event()

    def slow(message: Any) -> Message | None:
        if isinstance(message, Retire):
            waiting.set()
            return None
        return willing(message)

    async def act(world: World) -> None:
        first, second = pool(1), pool(2)
        await world.fronts.activate(first)
        await world.fronts.activate(second)
        retiring = asyncio.create_task(world.fronts.retire(first.generation, first))
        await waiting.wait()
        await asyncio.sleep(0)
        assert not retiring.done()
        # Its links are gone with it.
        world.started[place].kill()
        await retiring

    play(place, slow, act)


def test_a_gateway_that_starts_while_a_pool_gets_another_number_has_a_model(place: int) -> None:
    """The pool of an artifact that is published again serves under a new number."""
    dying: list[Gateway] = []

    def mortal(message: Any) -> Message | None:
        if isinstance(message, Announce) and message.generation == 2:
            dying[0].kill()
            return None
        return willing(message)

    async def act(world: World) -> None:
        dying.append(world.started[place])
        served = pool(1)
        await world.fronts.activate(served)
        served.generation = pool(2).generation
        await world.fronts.activate(served)

    newest = play(place, mortal, act).started[-1]
    opened = newest.heard.index("Open")
    told = newest.messages[:opened]
    announced = {each.generation for each in told if isinstance(each, Announce)}
    active = [each.generation for each in told if isinstance(each, Activate)]
    assert active
    assert set(active) <= announced
