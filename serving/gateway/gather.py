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

if TYPE_CHECKING:
    from serving.gateway.dispatch import Dispatcher
    from serving.gateway.heads import Head
    from serving.gateway.served import Served

#: The model that an endpoint means, at this moment. Raises RequestError.
Find = Callable[[], "tuple[Dispatcher, Served]"]
#: Call later in this turn of the loop, or at the beginning of the next.
Soon = Callable[[Callable[[], None]], object]


class Gather:
    """Gathers requests in one `form` to the model that `find` gives."""

    def __init__(
        self,
        form: Form,
        find: Find,
        fail: Fail,
        clock: Callable[[], float],
        timeout: float,
        soon: Soon,
    ) -> None:
        self._form = form
        self._find = find
        self._fail = fail
        self._clock = clock
        self._timeout = timeout
        self._soon = soon
        self._tray: Tray | None = None
        self._group: Group | None = None
        self._room = self._most = 0

    def take(self, client: Client, data: bytes, head: Head) -> bool:
        """Take a whole request, if it can be gathered; its `client` is told of the answer."""
        if self._group is None and not self._begin():
            return False
        tray, group = self._tray, self._group
        assert tray is not None
        assert group is not None
        rows = tray.add(data, head.end, head.size)
        if not rows:
            return False
        group.add(client, data, head, rows)
        self._room -= rows
        if self._room <= 0:
            self._flush()
        return True

    def _begin(self) -> bool:
        try:
            dispatcher, served = self._find()
        except RequestError:
            return False
        reader = served.encoder.plain
        if reader is None or not reader.native or served.staged or dispatcher.suspended:
            return False
        most = dispatcher.policy.max_batch_size
        if self._tray is None or self._tray.width != reader.width:
            # The last request may begin when all but one row are there.
            self._tray = Tray(self._form.read, reader.width, 2 * most)
        self._room = most
        self._group = Group(self._form, dispatcher, served, self._clock, self._fail)
        self._soon(self._flush)
        return True

    def _flush(self) -> None:
        group, self._group = self._group, None
        if group is not None and self._tray is not None and (matrix := self._tray.take()).size:
            group.submit(matrix, self._clock() + self._timeout)
