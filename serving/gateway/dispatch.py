"""The dispatcher: brings one model's queue and the workers of its active generation together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from registry.logs import get_logger
from serving.errors import FrameError, Overloaded
from serving.frame import Frame, Kind
from serving.gateway.admission import Admission
from serving.gateway.batcher import Batch, Batcher, Policy
from serving.gateway.served import Served
from serving.gateway.watchdog import Watchdog
from serving.gateway.work import Work
from serving.link import GatewayEnd, Loan

log = get_logger(__name__)

#: A worker that is done within so many seconds is waited for rather than another one woken, when
#: fewer than FEW rows wait: waking costs more than computing them.
BRIEF, FEW, LATE = 0.0002, 16, 0.001


class Dispatcher:
    """One model: its queue, its active generation, and those that drain.

    Everything runs on the event loop. `clock` gives seconds of CLOCK_MONOTONIC, which the workers
    share.
    """

    def __init__(
        self,
        model: str,
        policy: Policy,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        watchdog: Watchdog | None = None,
    ) -> None:
        self.model = model
        self.batcher = Batcher(policy)
        self._admission = Admission(policy.max_queue_wait, policy.max_batch_size)
        self.active: Served | None = None
        #: Why no request is taken just now; empty: they are taken.
        self.suspended = ""
        self._loop = loop
        self._clock = clock
        self._watchdog = watchdog
        self._retiring: dict[int, tuple[Served, Callable[[], None]]] = {}
        self._pumping = False
        #: Seconds that a batch takes, of late; unknown until one was computed.
        self._pace = 1.0
        self._timer: asyncio.TimerHandle | None = None

    # requests ---------------------------------------------------------------------------------

    def submit(self, work: Work) -> None:
        """Admit a request. Raises Overloaded, BodyTooLarge."""
        if self.active is None:
            raise Overloaded(f"the model {self.model} has no version that is ready yet")
        if self.suspended:
            raise self._unavailable()
        now = self._clock()
        if work.priority and self.batcher.rows:
            links = self.active.links.values()
            batches = sum([len(link.loans) for link in links])
            self._admission.check(self.batcher.rows, batches, len(links), work.deadline - now)
        self.batcher.admit(work, now)
        self._pump_soon()

    def cancel(self, work: Work) -> None:
        """Forget a request whose client has gone."""
        self.batcher.cancel(work)

    def expire(self) -> None:
        """Answer the requests whose deadlines have passed."""
        self.batcher.expire(self._clock())

    @property
    def ready(self) -> bool:
        """Whether a worker of the active generation is there."""
        return self.active is not None and bool(self.active.links) and not self.suspended

    def suspend(self, reason: str) -> None:
        """Refuse all requests at once, also those that wait; with no reason take them again."""
        self.suspended = reason
        if reason:
            self.batcher.refuse(self._unavailable())

    def _unavailable(self) -> Overloaded:
        return Overloaded(
            f"the model {self.model} cannot answer", self.suspended, "Try again later."
        )

    def check_ready(self, *, draining: bool) -> None:
        """Raise Overloaded unless a worker is there and the service is not `draining`."""
        if draining or not self.ready:
            raise Overloaded(f"the model {self.model} is not ready")

    # generations ------------------------------------------------------------------------------

    def connect(self, served: Served, worker: int, link: GatewayEnd[Batch]) -> None:
        """Use a new link to a worker of `served`."""
        served.join(worker, link)
        self._loop.add_reader(link.fileno(), self._collect, served, worker, link)
        self._pump_soon()

    def flip(self, served: Served) -> None:
        """Send every batch from now on to `served`."""
        self.active = self.batcher.target = served
        self._pace = 1.0
        self._admission.forget()
        self.suspended = ""
        self.batcher.on_settled = self._try if served.trial else None
        self._pump_soon()

    def _try(self, work: Work) -> None:
        """Count a request on trial, if it was the active generation that answered it."""
        active = self.active
        if active is not None and active.trial is not None and work.pin is active:
            active.trial.count(work, self._clock())
            if active.trial.over:
                self.batcher.on_settled = None

    def tried(self) -> tuple[int, int, int] | None:
        """Generation, requests on trial and bad ones since last asked; None if there were none."""
        active = self.active
        requests, bad = active.trial.news() if active and active.trial else (0, 0)
        return (active.number, requests, bad) if active and requests else None

    def retire(self, served: Served, retired: Callable[[], None]) -> None:
        """Close the links of `served` once its batches are done, then call `retired`."""
        self._retiring[served.number] = (served, retired)
        self._finish_retiring(served)

    def _finish_retiring(self, served: Served) -> None:
        if served.number not in self._retiring or served.busy:
            return
        for worker in list(served.links):
            self._drop(served, worker)
        _, retired = self._retiring.pop(served.number)
        retired()

    # batches ----------------------------------------------------------------------------------

    def _pump_soon(self) -> None:
        """Build batches after this turn of the loop, of all requests that arrived in it."""
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        now = self._clock()
        while (link := self._choose(now)) is not None:
            wait = self.batcher.wait(now)
            if wait is None:
                return
            if wait > 0:
                self._wake_in(wait)
                return
            batch = self.batcher.take(now, idle=link.idle)
            if batch is None:
                return
            link.lend(batch, batch.rows, batch.fill, int(batch.deadline() * 1e9))

    def _choose(self, now: float) -> GatewayEnd[Batch] | None:
        """An idle worker; or the second buffer of a busy one, if a full batch is waiting."""
        links = self.active.links.values() if self.active else ()
        full = self.batcher.rows >= self.batcher.policy.max_batch_size
        idle = spare = None
        soon = False
        for link in links:
            if link.idle:
                idle = idle or link
            else:
                soon = soon or self._soon_done(link, now)
                if full and link.has_room:
                    spare = link
        if idle is not None and soon and 0 < self.batcher.rows < FEW:
            # Its answer pumps again. The timer is for a worker that is late.
            self._wake_in(LATE)
            return None
        return idle or spare

    def _soon_done(self, link: GatewayEnd[Batch], now: float) -> bool:
        return self._pace < BRIEF and bool(link.loans) and now < link.loans[0].batch.started + BRIEF

    def _wake_in(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(seconds, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._pump()

    def _collect(self, served: Served, worker: int, link: GatewayEnd[Batch]) -> None:
        try:
            answers = link.collect()
        except FrameError as error:
            log.error("link broken", worker=worker, reason=str(error), **served.log_fields)
            link.closed, answers = True, []
        for loan, frame in answers:
            self._settle(served, link, loan, frame)
        if link.closed:
            self._lost(served, worker, link)
        self._finish_retiring(served)
        self._pump()

    def _settle(
        self, served: Served, link: GatewayEnd[Batch], loan: Loan[Batch], frame: Frame
    ) -> None:
        if frame.kind == Kind.RESULT:
            self._admission.computed(self._count(served, loan.batch, frame))
            self._pace = min(self._pace, BRIEF) * 0.9 + frame.compute * 1e-10
            self.batcher.done(loan.batch, link.outputs(loan))
        elif frame.kind == Kind.FAILURE:
            text = link.error_text(loan, frame)
            log.warning("model failed", rows=loan.rows, reason=text, **served.log_fields)
            self.batcher.failed(loan.batch)
        else:
            self.batcher.give_back(loan.batch)

    def _count(self, served: Served, batch: Batch, frame: Frame) -> float:
        """Count a batch; the seconds that its worker was busy with it, or with another gateway's."""
        compute, tally = frame.compute / 1e9, served.tally
        tally.rows.observe(batch.rows)
        tally.compute.observe(compute)
        if not batch.direct:
            return compute
        taken = self._clock() - batch.started
        tally.link.observe(taken - compute)
        return taken

    def _lost(self, served: Served, worker: int, link: GatewayEnd[Batch]) -> None:
        """A worker is dead: only the batch that it was computing is under suspicion."""
        loans = list(link.loans)
        self._drop(served, worker)
        for loan in reversed(loans[1:]):
            self.batcher.give_back(loan.batch)
        if loans:
            log.warning("worker died on a batch", rows=loans[0].rows, **served.log_fields)
            self.batcher.died(loans[0].batch)

    def hung(self) -> list[tuple[int, int]]:
        """Generation and number of each worker that hangs. Their batches are tried elsewhere."""
        if self._watchdog is None:
            return []
        using = [*([self.active] if self.active else ()), *(s for s, _ in self._retiring.values())]
        owners = {link: (served, n) for served in using for n, link in served.links.items()}
        hung = self._watchdog.look(owners, self._clock())
        for link in hung:
            served, worker = owners[link]
            rows = link.loans[0].rows
            log.error("worker hangs", worker=worker, rows=rows, **served.log_fields)
            self._lost(served, worker, link)
            self._finish_retiring(served)
            self._pump_soon()
        return [(owners[link][0].number, owners[link][1]) for link in hung]

    def _drop(self, served: Served, worker: int) -> None:
        link = served.links.pop(worker, None)
        if link is not None:
            self._loop.remove_reader(link.fileno())
            link.loans.clear()
            link.close()

    def gauges(self) -> dict[str, Any]:
        """Values for a scrape."""
        labels = (("model", self.model),)
        return {
            "pending_request_count": (labels, self.batcher.unsettled),
            "pending_row_count": (labels, self.batcher.rows),
            "ready": (labels, int(self.ready)),
        }
