"""The succession: which generation of a model serves, which did before, how one follows the other.

One candidate at a time is brought up beside the active generation: fetched, verified, loaded,
warmed up and checked in processes of its own. Only then does the gateway flip. Whatever goes wrong
before that ends the candidate alone. What goes wrong soon after sends the model back to the one
before, once: that one has nothing to go back to.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial

from registry.aliases import Head
from registry.artifacts.manifest import Reference
from registry.logs import get_logger
from serving.candidate import Candidate
from serving.decisions import Recording
from serving.errors import ChildDied, Rejected, ServingError
from serving.generation import Generation, State
from serving.means import Means
from serving.messages import Notice
from serving.pool import Pool
from serving.probation import Probation
from serving.retiring import Retiring
from serving.trouble import Trouble

log = get_logger(__name__)


class Succession:
    """The generations of one model. `on_trouble` is called when `go_back` should be."""

    def __init__(
        self, model: str, alias: str, means: Means, on_trouble: Callable[[], None]
    ) -> None:
        self.model = model
        self.alias = alias
        self.generation: Generation | None = None
        self.candidate: Generation | None = None
        self.trouble: Trouble | None = None
        #: Set once a generation has been active.
        self.ready = asyncio.Event()
        self._means = means
        self._front = means.front
        self._options = means.options
        self._on_trouble = on_trouble
        self._pool: Pool | None = None
        self._newest: Generation | None = None
        #: What served before the active generation and may be gone back to.
        self._before: Head | None = None
        self._retiring: Retiring | None = None
        self._given_up = ""
        self._recording = Recording(means.go_back)
        self._tasks: set[asyncio.Task[None]] = set()
        means.budget.on_pressure.append(self.release)

    @property
    def note(self) -> str:
        """How the newest reload stands or ended, what was given up, and what is held; or empty."""
        notes = [self._given_up] if self._given_up else []
        newest, retiring = self._newest, self._retiring
        if newest is not None and newest is not self.generation:
            notes.append(str(newest))
        if retiring is not None and retiring.generation.state in (State.DRAINING, State.HELD):
            notes.append(str(retiring.generation))
        return "; ".join(notes)

    def in_use(self) -> list[Reference]:
        """The artifacts of what serves, of what may be gone back to, and of a candidate."""
        retiring = self._retiring.generation if self._retiring else None
        known = [g.reference for g in (self.generation, self.candidate, retiring) if g is not None]
        before = self._before.live if self._before else None
        return [*known, before] if before else known

    def rejected(self, head: Head) -> bool:
        """Whether `head` was tried before it could serve: what was wrong may be mended."""
        newest = self._newest
        return newest is not None and newest.head == head and newest.state is State.REJECTED

    # forward ----------------------------------------------------------------------------------

    def workers_of(self, head: Head) -> Pool | None:
        """Workers that have the model of `head` loaded already; None if there are none."""
        if self.generation is not None and self.generation.reference == head.live:
            return self._pool
        retiring = self._retiring
        if retiring and retiring.available and retiring.generation.reference == head.live:
            return retiring.pool
        return None

    async def bring(self, head: Head) -> None:
        """Make the model of `head` active, or reject it; the reason is logged and noted."""
        assert head.live is not None
        generation = Generation(next(self._means.numbers), head, head.live)
        self._newest = generation
        pool = self.workers_of(head)
        if pool is not None:
            await self._reuse(generation, pool)
        else:
            await self._load(generation)

    async def _reuse(self, generation: Generation, pool: Pool) -> None:
        """Let workers that have this artifact loaded serve it under a new revision."""
        if pool is not self._pool and self._retiring is not None:
            self._retiring.take()
        before, pool.generation = pool.generation, generation
        generation.folder = before.folder
        generation.to(State.VALIDATED)
        try:
            await self._front.activate(pool)
        except Rejected as error:
            pool.generation = before
            self._reject(generation, str(error))
            if pool is not self._pool:
                await pool.stop()
                return
            with contextlib.suppress(Rejected):
                await self._front.activate(pool)
        else:
            await self._take_over(generation, pool)

    async def _load(self, generation: Generation) -> None:
        self.candidate = generation
        pool = self._means.make_pool(generation, self._contract_for(generation.head))
        pool.patient = self.generation is not None and self.trouble is None
        try:
            candidate = Candidate(generation, pool, self._means.fetch, self._options)
            await candidate.prepare(self._make_room)
            # There must be something to go back to, which is not what was just gone back from.
            tried = self.generation is not None and self.trouble is None
            generation.trial = self._options.trial_requests if tried else 0
            await self._front.activate(pool)
        except (Rejected, ChildDied) as error:
            self._reject(generation, str(error))
            await pool.stop()
        except Exception:
            # Whatever it is, the active generation serves on.
            log.exception("defect in a reload", model=self.model)
            self._reject(generation, "an unexpected error; see the log")
            await pool.stop()
        except asyncio.CancelledError:
            await pool.stop()
            raise
        else:
            await self._take_over(generation, pool)
        finally:
            self.candidate = None
            self._means.budget.settle(generation.number)

    def _contract_for(self, head: Head) -> str:
        """The folder of the bundle whose inputs `head` must take; empty: it may take any.

        What served before may serve again: the way back is never barred.
        """
        returns = self._before is not None and self._before.live == head.live
        if self.generation is None or returns or self._options.allow_schema_change:
            return ""
        return str(self.generation.folder)

    def _reject(self, generation: Generation, reason: str) -> None:
        generation.reject(reason)
        self._tell(generation, str(generation.state), generation.reason)

    async def _take_over(self, generation: Generation, pool: Pool) -> None:
        generation.to(State.ACTIVE)
        before, old = self.generation, self._pool
        self._pool, self.generation = pool, generation
        if before is not None and old is not None:
            self._set_aside(before, old)
        pool.on_broken = partial(self._broken, pool)
        if generation.trial:
            probation = Probation(generation.trial, self._options.trial_failures)
            pool.on_tried = partial(self._judge, pool, probation)
        if pool is not old:
            self._given_up = ""
        self._tell(generation, str(generation.state))
        self.ready.set()
        try:
            await asyncio.to_thread(self._means.pointers.save, generation.head)
        except OSError as error:
            log.warning("pointer not saved", model=self.model, reason=str(error))

    def _set_aside(self, before: Generation, old: Pool) -> None:
        """Retire what served until now; hold it, unless it has troubles of its own."""
        bad = self.trouble is not None and self.trouble.pool is old
        retiring = Retiring(before, old, self._front, self._options)
        if old is self._pool:
            retiring.take()
        else:
            self._before = None if bad else before.head
            if self._retiring is not None:
                self._retiring.expire()
            self._retiring = retiring
        self._keep(retiring.start(hold=bool(self._options.rollback_hold) and not bad))

    def _keep(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # memory -----------------------------------------------------------------------------------

    async def _make_room(self, generation: Generation) -> None:
        """See to it that a candidate fits beside what is there.

        Raises:
            Rejected: it does not, and the active generation is not to go first.
        """
        budget, pool = self._means.budget, self._pool
        seen = (self.generation.folder, pool.memory) if self.generation and pool else None
        need = budget.need(generation.folder, seen)
        lacking = await budget.reserve(generation.number, need)
        if not lacking:
            return
        if self.generation is None or self._options.reload_policy == "availability":
            raise Rejected(lacking)
        await self._step_down(generation)
        lacking = await budget.reserve(generation.number, need)
        if lacking:
            raise Rejected(lacking)

    async def _step_down(self, generation: Generation) -> None:
        """End the active generation, so that there is room: a downtime that was asked for."""
        active, pool = self.generation, self._pool
        assert active is not None
        assert pool is not None
        log.warning("downtime", model=self.model, revision=generation.head.revision)
        self.generation, self._pool, self._before = None, None, active.head
        self._front.suspend(active, "it is being replaced, and there is memory for one only")
        retiring = Retiring(active, pool, self._front, self._options)
        await asyncio.wait({self._keep(retiring.start(hold=False))})

    async def release(self) -> None:
        """Hold nothing any more: the memory is needed."""
        if self._retiring is not None:
            await self._retiring.release()

    # back -------------------------------------------------------------------------------------

    def _broken(self, pool: Pool, reason: str) -> None:
        """Workers of `pool` cannot live (or, with no reason, are tried again)."""
        if pool is not self._pool:
            return
        if reason and self._before is not None and self.trouble is None:
            self._call_for_help(Trouble(pool, reason, broken=True))
        else:
            self._front.suspend(pool.generation, reason)

    def _judge(self, pool: Pool, probation: Probation, requests: int, bad: int) -> None:
        probation.report(requests, bad)
        if pool is not self._pool or not probation.over:
            return
        pool.on_tried = None
        if probation.failed and self._before is not None and self.trouble is None:
            self._call_for_help(Trouble(pool, str(probation), broken=False))

    def _call_for_help(self, trouble: Trouble) -> None:
        self.trouble = trouble
        log.error("model in trouble", model=self.model, reason=trouble.reason)
        self._on_trouble()

    async def go_back(self) -> Head | None:
        """Make active what served before; the head that the alias has now, if that was recorded."""
        trouble, bad, good = self.trouble, self.generation, self._before
        if trouble is None or bad is None or good is None or trouble.pool is not self._pool:
            self.trouble = None
            return None
        try:
            head = await self._recording.decide(bad.head, good, trouble.reason)
            if trouble.broken and self.workers_of(good) is None:
                self._front.suspend(bad, trouble.reason)
            await self.bring(head or good)
        finally:
            self.trouble = None
        if self.generation is not bad:
            self._given_up = f"revision {bad.head.revision} given up: {trouble.reason}"
            self._tell(bad, "rolled-back", trouble.reason)
        return head

    # the end ----------------------------------------------------------------------------------

    def _tell(self, generation: Generation, result: str, reason: str = "") -> None:
        notice = Notice(self.model, generation.head.revision, result, reason[:500])
        self._front.notify(notice, generation.take_stages())

    async def settle(self) -> None:
        """Hold nothing, record nothing any more; returns once nothing drains."""
        if self._retiring is not None:
            self._retiring.expire()
        await self._recording.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def stop(self) -> None:
        """End the workers of the active generation."""
        if self._pool is not None:
            with contextlib.suppress(ServingError):
                await self._pool.stop()
