"""The pool: the workers of one generation, kept at their number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from registry.logs import get_logger
from serving.arena import Layout
from serving.backoff import Backoff
from serving.children import GRACE, Child, Children
from serving.errors import ChildDied, Rejected, ServingError
from serving.generation import TRANSITIONS, Generation, State
from serving.messages import FromWorker, Load, Loading, Unfit, Validated, Warming, decoder
from serving.options import Options

log = get_logger(__name__)
#: Seconds after which a worker's death is taken as a single event, not as one of a series.
STEADY = 10.0

_decoder = decoder(FromWorker)


class Worker:
    """One worker that has proved its model. `layout` is the shape of its links."""

    def __init__(self, number: int, child: Child, layout: Layout) -> None:
        self.number = number
        self.child = child
        self.layout = layout
        self.since = asyncio.get_running_loop().time()


class Pool:
    """Starts the workers of a generation and replaces those that die."""

    def __init__(self, generation: Generation, children: Children, options: Options) -> None:
        self.generation = generation
        self.workers: dict[int, Worker] = {}
        #: Called with each worker that takes a dead one's place.
        self.on_replaced: Callable[[Worker], None] | None = None
        self._children = children
        self._options = options
        self._counter = 0
        self._stopping = False
        self._backoff = Backoff(first=0.02)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start all workers, one by one.

        Raises:
            Rejected: the bundle must not serve.
            ChildDied: a worker crashed or hung while it loaded.
        """
        for _ in range(self._options.workers):
            await self._add()

    async def _add(self) -> Worker:
        self._counter += 1
        number = self._counter
        child = await self._children.start("worker", f"pen:{self.generation.model}")
        try:
            validated = await self._load(child)
        except BaseException:
            await child.stop(0.0)
            raise
        layout = Layout(self._options.max_batch_size, validated.features, validated.outputs)
        self.workers[number] = Worker(number, child, layout)
        child.listen(_decoder, lambda _: None, lambda: self._lost(number))
        return self.workers[number]

    async def _load(self, child: Child) -> Validated:
        outcome: asyncio.Future[Validated] = asyncio.get_running_loop().create_future()

        def receive(message: Loading | Warming | Validated | Unfit) -> None:
            if outcome.done():
                return
            if isinstance(message, Validated):
                outcome.set_result(message)
            elif isinstance(message, Unfit):
                outcome.set_exception(Rejected(message.reason))
            else:
                self._progress(State.LOADING if isinstance(message, Loading) else State.WARMING)

        def end() -> None:
            if not outcome.done():
                outcome.set_exception(ChildDied("a worker crashed while it loaded the model"))

        child.listen(_decoder, receive, end)
        options = self._options
        load = Load(
            str(self.generation.folder), options.max_batch_size, options.threads, options.log_level
        )
        child.send(load)
        try:
            return await asyncio.wait_for(outcome, options.load_timeout)
        except TimeoutError:
            seconds = f"{options.load_timeout:g} s"
            raise ChildDied(f"a worker had not loaded the model after {seconds}") from None

    def _progress(self, state: State) -> None:
        """The first worker takes the generation from state to state; the others follow."""
        if not self.workers and state in TRANSITIONS[self.generation.state]:
            self.generation.to(state)

    def _lost(self, number: int) -> None:
        """A worker died: the gateway has seen it already; put another in its place."""
        worker = self.workers.pop(number)
        if self._stopping:
            return
        loop = asyncio.get_running_loop()
        if loop.time() - worker.since > STEADY:
            self._backoff.reset()
        log.warning("worker died", model=self.generation.model, worker=number, pid=worker.child.pid)
        task = loop.create_task(self._replace())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _replace(self) -> None:
        while not self._stopping:
            await asyncio.sleep(self._backoff.next())
            try:
                worker = await self._add()
            except ServingError as error:
                log.error("worker not replaced", model=self.generation.model, reason=str(error))
                continue
            if self.on_replaced is not None:
                self.on_replaced(worker)
            return

    async def clear(self) -> None:
        """End the workers that are there, so that `start` can be tried again."""
        self._stopping = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(w.child.stop(GRACE) for w in list(self.workers.values())))
        self._stopping = False

    async def stop(self) -> None:
        """Let every worker exit, SIGKILL those that do not, and start no others."""
        await self.clear()
        self._stopping = True
