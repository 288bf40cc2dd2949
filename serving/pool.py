"""The pool: the processes of one generation, a crew for its model and one for each of its stages."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

from registry.models.places import Leg
from serving.children import Children
from serving.crew import Crew, Worker
from serving.generation import Generation
from serving.options import Options


class Pool:
    """Starts the processes of a generation and replaces those that die.

    `contract` is the folder of the bundle whose inputs the clients know; empty: none yet.
    """

    def __init__(
        self, generation: Generation, children: Children, options: Options, contract: str = ""
    ) -> None:
        self.generation = generation
        self.children = children
        self.options = options
        self.contract = contract
        #: Whether loading may wait for idle cores: another generation serves meanwhile.
        self.patient = False
        #: Numbers of its processes.
        self.numbers = itertools.count(1)
        #: Called with each process that takes a dead one's place.
        self.on_replaced: Callable[[Worker], None] | None = None
        #: Called with the reason when processes cannot live, and with "" when they are tried again.
        self.on_broken: Callable[[str], None] | None = None
        #: Called with how many more requests were answered on trial, and how many of them badly.
        self.on_tried: Callable[[int, int], None] | None = None
        self._model = Crew(self, "model", options.workers)
        self._crews: dict[Leg, Crew] = {"model": self._model}
        self._broken: dict[Leg, str] = {}

    @property
    def workers(self) -> dict[int, Worker]:
        """Every process that has proved itself, by its number."""
        return {number: w for crew in self._crews.values() for number, w in crew.workers.items()}

    @property
    def memory(self) -> int:
        """Bytes that the processes were seen to need while they loaded; 0 if that is not known."""
        return sum(crew.memory for crew in self._crews.values())

    async def start(self) -> None:
        """Start all processes: those of the model, which tell what stages there must be, then these.

        Raises:
            Rejected: the bundle must not serve.
            ChildDied: a process crashed or hung while it loaded.
        """
        await self._model.start()
        for place in self._model.places:
            crew = self._crews.setdefault(place, Crew(self, place, self.options.stages))
            await crew.start()

    # what crews tell --------------------------------------------------------------------------

    def replaced(self, worker: Worker) -> None:
        """A process has taken a dead one's place."""
        if self.on_replaced is not None:
            self.on_replaced(worker)

    def broken(self, place: Leg, reason: str) -> None:
        """The processes at `place` cannot live, or with no reason are tried again."""
        self._broken[place] = reason
        if self.on_broken is not None:
            self.on_broken(next(filter(None, self._broken.values()), ""))

    def kill(self, number: int) -> None:
        """SIGKILL a process that hangs; another takes its place."""
        for crew in self._crews.values():
            crew.kill(number)

    # the end ----------------------------------------------------------------------------------

    async def clear(self) -> None:
        """End the processes that are there, so that `start` can be tried again."""
        await asyncio.gather(*(crew.clear() for crew in self._crews.values()))

    async def stop(self) -> None:
        """Let every process exit, SIGKILL those that do not, and start no others."""
        await asyncio.gather(*(crew.stop() for crew in self._crews.values()))
