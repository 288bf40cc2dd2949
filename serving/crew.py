"""A crew: processes of one generation that do the same, kept at their number."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from registry.logs import get_logger
from registry.models.places import Leg, Place
from serving.arena import Layout
from serving.backoff import Backoff
from serving.breaker import Breaker
from serving.children import GRACE, Child
from serving.errors import ChildDied, Rejected, ServingError, Starved
from serving.generation import TRANSITIONS, State
from serving.messages import (
    Answered,
    FromWorker,
    Load,
    Loading,
    Starving,
    Unfit,
    Validated,
    decoder,
)

if TYPE_CHECKING:
    from serving.pool import Pool

log = get_logger(__name__)
#: Seconds after which a worker's death is taken as a single event, not as one of a series.
STEADY = 10.0

_decoder = decoder(FromWorker)


class Worker:
    """One process that has proved what it loaded. `layout` is the shape of its links."""

    def __init__(
        self, number: int, child: Child, place: Leg, layout: Layout, proof: Validated
    ) -> None:
        self.number = number
        self.child = child
        self.place = place
        self.proof = proof
        self.layout = layout
        self.private, self.shared = proof.private, proof.shared
        self.since = asyncio.get_running_loop().time()
        #: Whether it has answered a batch; whether it was ended because it did not.
        self.useful = self.hung = False


class Crew:
    """`count` processes that do the same, at one `place` of a pool; those that die are replaced."""

    def __init__(self, pool: Pool, place: Leg, count: int) -> None:
        self.workers: dict[int, Worker] = {}
        self.place = place
        self._pool = pool
        self._count = count
        self._stopping = False
        self._started = False
        options = pool.options
        self._backoff = Backoff(first=0.02, most=options.restart_wait)
        self._breaker = Breaker(options.breaker_deaths, options.breaker_window)
        self._filling: asyncio.Task[None] | None = None

    @property
    def memory(self) -> int:
        """Bytes that the processes were seen to need while they loaded; 0 if that is not known."""
        workers = self.workers.values()
        private = max((worker.private for worker in workers), default=0)
        shared = max((worker.shared for worker in workers), default=0)
        return private * self._count + shared

    @property
    def places(self) -> tuple[Place, ...]:
        """The stages that the bundle needs, as those know that have loaded it."""
        return next((worker.proof.places for worker in self.workers.values()), ())

    async def start(self) -> None:
        """Start all of them, one by one.

        Raises:
            Rejected: the bundle must not serve.
            ChildDied: a worker crashed or hung while it loaded.
        """
        for _ in range(self._count):
            await self._add()
        self._started = True
        self._fill()

    async def _add(self) -> Worker:
        pool = self._pool
        number = next(pool.numbers)
        child, proof = await self._loaded()
        if not self._started:
            pool.generation.stages.extend(proof.stages.items())
        worker = self.workers[number] = Worker(
            number, child, self.place, self._layout(proof), proof
        )
        child.listen(_decoder, lambda m: self._hear(worker, m), lambda: self._lost(worker))
        return worker

    async def _loaded(self) -> tuple[Child, Validated]:
        """A process that has loaded: on idle cores if that can be, else among the others."""
        # Who replaces a dead worker is needed as much as those who serve.
        nice = 0 if self._started else self._pool.options.load_nice
        if nice and self._pool.patient:
            try:
                return await self._loaded_by(self._order(nice, idle=True))
            except Starved as error:
                self._pool.patient = False
                model = self._pool.generation.model
                log.info("loading waits for idle cores no longer", model=model, reason=str(error))
        return await self._loaded_by(self._order(nice, idle=False))

    async def _loaded_by(self, order: Load) -> tuple[Child, Validated]:
        role, name = ("worker", "") if self.place == "model" else ("stage", f"{self.place}:")
        title = f"pen:{name}{self._pool.generation.model}"
        child = await self._pool.children.start(role, title)
        try:
            return child, await self._load(child, order)
        except BaseException:
            await child.stop(0.0)
            raise

    def _layout(self, proof: Validated) -> Layout:
        most = self._pool.options.max_batch_size
        rows = min(most, proof.batch) if proof.batch else most
        return Layout(rows, proof.features, proof.outputs)

    async def _load(self, child: Child, order: Load) -> Validated:
        outcome: asyncio.Future[Validated] = asyncio.get_running_loop().create_future()

        def receive(message: Any) -> None:
            if outcome.done():
                return
            if isinstance(message, Validated):
                outcome.set_result(message)
            elif isinstance(message, Unfit):
                outcome.set_exception(Rejected(message.reason))
            elif isinstance(message, Starving):
                outcome.set_exception(Starved("the cores are busy"))
            else:
                self._progress(State.LOADING if isinstance(message, Loading) else State.WARMING)

        def end() -> None:
            if not outcome.done():
                outcome.set_exception(ChildDied("a worker crashed while it loaded the model"))

        child.listen(_decoder, receive, end)
        child.send(order)
        try:
            return await asyncio.wait_for(outcome, self._pool.options.load_timeout)
        except TimeoutError:
            seconds = f"{self._pool.options.load_timeout:g} s"
            raise ChildDied(f"a worker had not loaded the model after {seconds}") from None

    def _order(self, nice: int, *, idle: bool) -> Load:
        options = self._pool.options
        return Load(
            str(self._pool.generation.folder),
            options.max_batch_size,
            options.threads,
            options.log_level,
            nice=nice,
            idle=idle,
            contract=self._pool.contract,
            place=self.place,
        )

    def _progress(self, state: State) -> None:
        """The first worker takes the generation from state to state; the others follow."""
        if not self.workers and state in TRANSITIONS[self._pool.generation.state]:
            self._pool.generation.to(state)

    # deaths -----------------------------------------------------------------------------------

    def _hear(self, worker: Worker, message: Any) -> None:
        if isinstance(message, Answered):
            worker.useful = True
            self._breaker.answered()
            self._backoff.reset()
            self._fill()

    def _lost(self, worker: Worker) -> None:
        """A worker died: the gateway has seen it already; put another in its place."""
        del self.workers[worker.number]
        if self._stopping:
            return
        model, pid = self._pool.generation.model, worker.child.pid
        log.error("worker died", model=model, place=self.place, worker=worker.number, pid=pid)
        lived = asyncio.get_running_loop().time() - worker.since
        if worker.useful or (lived > STEADY and not worker.hung):
            self._backoff.reset()
        else:
            self._count_in_vain()
        self._fill()

    def _count_in_vain(self) -> None:
        """A worker ended without any use. While others answer, the fault is not the generation's."""
        if any(worker.useful for worker in self.workers.values()):
            return
        if self._breaker.died(asyncio.get_running_loop().time()):
            self._pool.broken(self.place, "its processes keep ending before they answer anything")

    def _fill(self) -> None:
        """See to it that workers are started as long as some are missing."""
        idle = self._filling is None or self._filling.done()
        if idle and self._started and len(self.workers) < self._wanted:
            self._filling = asyncio.get_running_loop().create_task(self._start_missing())

    @property
    def _wanted(self) -> int:
        """While the breaker is open a single worker is tried at a time."""
        return 1 if self._breaker.open else self._count

    async def _start_missing(self) -> None:
        while not self._stopping and len(self.workers) < self._wanted:
            await asyncio.sleep(self._backoff.next())
            try:
                worker = await self._add()
            except ServingError as error:
                log.error(
                    "worker not replaced", model=self._pool.generation.model, reason=str(error)
                )
                self._count_in_vain()
                continue
            self._pool.replaced(worker)
            if self._breaker.open:
                self._pool.broken(self.place, "")

    def kill(self, number: int) -> None:
        """SIGKILL a worker that hangs; another takes its place."""
        worker = self.workers.get(number)
        if worker is not None:
            worker.hung = True
            worker.child.kill()

    # the end ----------------------------------------------------------------------------------

    async def clear(self) -> None:
        """End the workers that are there, so that `start` can be tried again."""
        self._stopping, self._started = True, False
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.gather(self._filling, return_exceptions=True)
        await asyncio.gather(*(w.child.stop(GRACE) for w in list(self.workers.values())))
        self._stopping = False

    async def stop(self) -> None:
        """Let every worker exit, SIGKILL those that do not, and start no others."""
        await self.clear()
        self._stopping = True
