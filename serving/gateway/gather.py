"""Gathering: the plain requests to one endpoint that arrive in the same turn of the loop are one work.

They would be in the same batch anyway. What a request costs on its way there and back is then paid once
for all of them, but for its bytes (docs/decisions/0031-gathering.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from serving.errors import RequestError
from serving.gateway.group import Client, Fail, Form, Group
from serving.gateway.plain import Tray
from serving.gateway.seated import SeatedGroup

if TYPE_CHECKING:
    from array import array

    from registry.models.signature import Matrix
    from serving.gateway.dispatch import Dispatcher
    from serving.gateway.fast import FastPath
    from serving.gateway.heads import Head
    from serving.gateway.plain import PlainReader
    from serving.gateway.served import Served

#: The model that an endpoint means, at this moment. Raises RequestError.
Find = Callable[[], "tuple[Dispatcher, Served]"]
#: Call later in this turn of the loop, or at the beginning of the next.
Soon = Callable[[Callable[[], None]], object]


class Turn:
    """What is gathered in this turn of the loop, for all endpoints, and the trays that are free."""

    def __init__(self, soon: Soon) -> None:
        self._soon = soon
        self._open: list[Gather] = []
        self._trays: dict[tuple[str, int, int], list[Tray]] = {}

    def begin(self, gather: Gather) -> None:
        """Close what `gather` opens when the turn ends."""
        if not self._open:
            self._soon(self._end)
        self._open.append(gather)

    def _end(self) -> None:
        """All is queued before the first batch is built."""
        opened, self._open = self._open, []
        alone = len(opened) == 1
        queued = [asked for gather in opened if (asked := gather.close(alone=alone)) is not None]
        for dispatcher in dict.fromkeys(queued):
            dispatcher.pump()

    def borrow(self, form: str, width: int, rows: int) -> Tray:
        """A tray that nobody uses."""
        free = self._trays.setdefault((form, width, rows), [])
        return free.pop() if free else Tray(form, width, rows)

    def give_back(self, tray: Tray) -> None:
        """Let another group have a tray."""
        self._trays[tray.form, tray.width, tray.rows].append(tray)


class Gather:
    """Gathers requests in one `form` to the model that `find` gives."""

    def __init__(
        self,
        form: Form,
        find: Find,
        fail: Fail,
        clock: Callable[[], float],
        timeout: float,
        turn: Turn,
    ) -> None:
        self._form = form
        self._find = find
        self._fail = fail
        self._clock = clock
        self._timeout = timeout
        self._turn = turn
        self._open: tuple[Group, Tray] | None = None
        self._tray: Tray | None = None
        #: Rows after which the group that is open is full.
        self._room = 0

    def take(self, client: Client, data: bytes, head: Head) -> bool:
        """Take a whole request, if it can be gathered; its `client` is told of the answer."""
        opened = self._open or self._begin()
        if opened is None:
            return False
        group, tray = opened
        rows = tray.add(data, head.end, head.size)
        if not rows:
            return False
        group.add(client, data, head, rows)
        self._room -= rows
        if self._room <= 0 and (dispatcher := self.close()) is not None:
            dispatcher.pump()
        return True

    def _ready(self) -> tuple[Dispatcher, Served, PlainReader] | None:
        """The model, and what reads its rows; None where requests are not to be gathered now."""
        try:
            dispatcher, served = self._find()
        except RequestError:
            return None
        reader = served.encoder.plain
        if reader is None or not reader.native or served.staged or dispatcher.suspended:
            return None
        if dispatcher.policy.max_queue_delay:
            # Rows that wait for company would make those wait that came with them.
            return None
        return dispatcher, served, reader

    def _begin(self) -> tuple[Group, Tray] | None:
        ready = self._ready()
        if ready is None:
            return None
        dispatcher, served, reader = ready
        most = dispatcher.policy.max_batch_size
        # The last request may begin when all but one row are there.
        tray = self._turn.borrow(self._form.read, reader.width, 2 * most)
        self._room = most
        self._open = Group(self._form, dispatcher, served, self._clock, self._fail), tray
        self._turn.begin(self)
        return self._open

    def close(self, *, alone: bool = False) -> Dispatcher | None:
        """Queue what is open; returns who has to build batches of it, if anybody.

        `alone`: nothing else was gathered in this turn.
        """
        if self._open is None:
            return None
        group, tray = self._open
        self._open = None
        matrix = tray.take()
        self._turn.give_back(tray)
        if not len(matrix):
            return None
        return group.submit(matrix, self._clock() + self._timeout, at_once=alone)

    # the fast path, see `serving.gateway.fast.Taking` --------------------------------------------

    def prepare(self) -> Tray | None:
        """Where to read rows to; None: nothing may be taken now."""
        ready = self._ready()
        if ready is None or self._form.around(ready[1].template) is None:
            return None
        width, most = ready[2].width, ready[0].policy.max_batch_size
        if self._tray is None or (self._tray.width, self._tray.rows) != (width, most):
            self._tray = Tray(self._form.read, width, most)
        return self._tray

    def take_run(self, fast: FastPath, tokens: array[int], rows: Matrix, *, alone: bool) -> bool:
        """Take requests, one row each; False: they must go the long way."""
        ready = self._ready()
        if ready is None or ready[2].width != rows.shape[1]:
            return False
        group = SeatedGroup(self._form, *ready[:2], self._clock, self._fail, fast, tokens)
        asked = group.submit(rows, self._clock() + self._timeout, at_once=alone)
        if asked is not None:
            fast.queued[asked] = None
        return True
