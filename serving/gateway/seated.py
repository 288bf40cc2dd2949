"""A group whose requests came on the fast path: their clients are seats until they have to be told apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from registry.models.signature import Matrix
from serving.gateway.exchange import Exchange
from serving.gateway.fast import FastPath
from serving.gateway.group import Client, Fail, Form, Group

if TYPE_CHECKING:
    from array import array

    from serving.gateway.dispatch import Dispatcher
    from serving.gateway.heads import Head
    from serving.gateway.served import Served
    from serving.gateway.work import Work

_encode = msgspec.json.Encoder().encode


class SeatedGroup(Group):
    """Requests of one row each, by their `tokens`."""

    __slots__ = ("_apart", "_fast", "_tokens")

    def __init__(
        self,
        form: Form,
        dispatcher: Dispatcher,
        served: Served,
        clock: Callable[[], float],
        fail: Fail,
        fast: FastPath,
        tokens: array[int],
    ) -> None:
        super().__init__(form, dispatcher, served, clock, fail)
        self._fast = fast
        self._tokens = tokens
        self._rows = [1] * len(tokens)
        #: Those that have left their seats, by their place, with what they had sent.
        self._apart: dict[int, tuple[Client, Head, bytes]] = {}

    @property
    def count(self) -> int:
        """How many requests there are."""
        return len(self._rows)

    def has(self, token: int) -> bool:
        """Whether a request is of this group."""
        return token in self._tokens

    def leave(self, token: int) -> None:
        """Take the seat away from a request, which goes on waiting for this group."""
        self._get_up(self._tokens.index(token))

    def leave_all(self) -> None:
        """Take their seats away from all."""
        for index in range(self.count):
            self._get_up(index)

    def _begin(self, work: Work) -> None:
        super()._begin(work)
        self._fast.flying.add(self)

    def _end(self) -> None:
        super()._end()
        self._fast.flying.discard(self)

    def _get_up(self, index: int) -> tuple[Client, Head, bytes]:
        if index not in self._apart:
            self._apart[index] = parted = self._fast.part(self._tokens[index])
            parted[0].wait_for(self)
            parted[0].stand(b"")
        return self._apart[index]

    def _client(self, index: int) -> Client:
        return self._get_up(index)[0]

    def _part(self, index: int) -> Exchange | None:
        client, head, data = self._get_up(index)
        return client.part(self, head, data)

    def _answer(self, by: Served, result: Matrix, now: float) -> None:
        around = self._form.around(by.template)
        if around is None or len(result) != self.count:
            super()._answer(by, result, now)
            return
        values = _encode(result[:, 0].tolist())[1:-1]
        for index in self._fast.answer(self._tokens, values, by.frame(around)):
            before, after = around
            self._tell(index, before + values.split(b",")[index] + after, by.headers, now)
