"""A lane: one queue, and the processes that take what waits in it. A model has one, a stage another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from registry.logs import get_logger
from registry.models.places import Leg as Place
from registry.models.signature import Matrix
from serving.errors import FrameError, RequestError
from serving.frame import Frame, Kind
from serving.gateway.admission import Admission
from serving.gateway.batch import Batch, Policy
from serving.gateway.batcher import Batcher
from serving.gateway.inline import Inline
from serving.gateway.leg import Leg
from serving.link import GatewayEnd, Loan

log = get_logger(__name__)

#: A worker that is done within so many seconds is waited for rather than another one woken, when
#: fewer than FEW rows wait: waking costs more than computing them.
BRIEF, FEW, LATE = 0.0002, 16, 0.001


class Lane:
    """The queue at one `place`, for the generation that is active: its `target`.

    `on_quiet` is called with a leg each time that batches of it are over. Everything runs on the event
    loop. `clock` gives seconds of CLOCK_MONOTONIC, which the workers share.
    """

    def __init__(
        self,
        place: Place,
        policy: Policy,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        on_quiet: Callable[[Leg], None],
    ) -> None:
        self.place = place
        unit = policy.max_batch_size
        if place != "model":
            # What there is is shared out: nothing waits for company, and rows count, not batches.
            policy, unit = replace(policy, max_queue_delay=0.0), 1
        self.batcher = Batcher(policy)
        self._admission = Admission(policy.max_queue_wait, unit)
        self.target: Leg | None = None
        self._loop = loop
        self._clock = clock
        self._on_quiet = on_quiet
        self._pumping = False
        #: Seconds that a batch takes, of late; unknown until one was computed.
        self._pace = 1.0
        self._timer: asyncio.TimerHandle | None = None

    def connect(self, leg: Leg, worker: int, link: GatewayEnd[Batch]) -> None:
        """Use a new link to a process of `leg`."""
        leg.join(worker, link)
        self._loop.add_reader(link.fileno(), self._collect, leg, worker, link)
        self.pump_soon()

    def flip(self, leg: Leg | None) -> None:
        """Send every batch from now on to `leg`; to None: what waits here is turned away."""
        self.target = self.batcher.target = leg
        self._pace = 1.0
        self._admission.forget()
        self.pump_soon()

    def check_wait(self, patience: float) -> float:
        """Seconds that a new row would wait here.

        Raises:
            Overloaded: that would be too long, or more than `patience`.
        """
        rows = self.batcher.rows
        if not rows or self.target is None:
            return 0.0
        links = self.target.links.values()
        one = self.place == "model"
        lent = sum([len(n.loans) if one else sum(x.rows for x in n.loans) for n in links])
        self._admission.check(rows, lent, len(links), patience)
        return self._admission.wait(rows, lent, len(links))

    # batches ----------------------------------------------------------------------------------

    def pump_soon(self) -> None:
        """Build batches after this turn of the loop, of all requests that arrived in it."""
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self.pump)

    def pump(self, *, inline: bool = True) -> None:
        """Build batches now; with `inline`, this process may predict one that is small."""
        self._pumping = False
        if self.target is None:
            self.batcher.turn_away()
            return
        now = self._clock()
        if inline:
            self._predict_inline(self.target, now)
        while (link := self._choose(now)) is not None:
            wait = self.batcher.wait(now)
            if wait is None:
                return
            if wait > 0:
                self._wake_in(wait)
                return
            batch = self.batcher.take(now, idle=link.idle, most=self._most(link))
            if batch is None:
                return
            link.lend(batch, batch.rows, batch.fill, int(batch.deadline() * 1e9))

    def _predict_inline(self, leg: Leg, now: float) -> None:
        """Predict what waits in this process, if it is little and no worker has anything to do."""
        inline = leg.inline
        if inline is None or not inline.takes(self.batcher.rows) or self.batcher.wait(now):
            return
        # A worker that never answered is asked first: it may be no good, which the breaker must see.
        idle = None if leg.busy else self._choose(now)
        if idle is None or idle.fresh:
            return
        # As for a busy worker: rows under suspicion, which are alone, are not for this process.
        batch = self.batcher.take(now, idle=False, most=inline.most)
        if batch is None:
            return
        outputs = self._compute_inline(leg, inline, batch.matrix())
        if outputs is None:
            self.batcher.give_back(batch)
        else:
            self.batcher.done(batch, outputs)

    def predict_at_once(self, rows: Matrix) -> Matrix | None:
        """Values for rows that have just come, from this process; None where they have to be queued.

        The rules of `_predict_inline` for what never waits, at a fraction of its cost.
        """
        leg = self.target
        if leg is None or leg.inline is None or self.batcher.rows or self.batcher.on_settled:
            return None
        if not leg.inline.takes(len(rows)):
            return None
        first = None
        for link in leg.links.values():
            if not link.idle:
                return None
            first = first or link
        if first is None or first.fresh:
            return None
        return self._compute_inline(leg, leg.inline, rows)

    def _compute_inline(self, leg: Leg, inline: Inline, rows: Matrix) -> Matrix | None:
        begun = self._clock()
        try:
            outputs = inline.predict(rows)
        except Exception as error:  # noqa: BLE001 - a worker finds out whether it is the rows
            inline.close()
            log.warning(
                "a gateway leaves a model to its workers",
                reason=repr(error),
                **leg.served.log_fields,
            )
            return None
        seconds = self._clock() - begun
        inline.note(len(rows), seconds)
        leg.count(len(rows), seconds, None)
        leg.served.tally.inline += 1
        return outputs

    def _most(self, link: GatewayEnd[Batch]) -> int:
        """Rows of the next batch: of stages, whose rows gain little from company, each gets a share."""
        if self.place == "model" or self.target is None:
            return link.rows
        return min(link.rows, -(-self.batcher.rows // len(self.target.links)) or 1)

    def _choose(self, now: float) -> GatewayEnd[Batch] | None:
        """An idle worker; or the second buffer of a busy one, if a full batch is waiting."""
        links = self.target.links.values() if self.target else ()
        idle = spare = None
        soon = False
        for link in links:
            if link.idle:
                idle = idle or link
            else:
                soon = soon or self._soon_done(link, now)
                if self.batcher.rows >= link.rows and link.has_room:
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
        self.pump()

    def _collect(self, leg: Leg, worker: int, link: GatewayEnd[Batch]) -> None:
        try:
            answers = link.collect()
        except FrameError as error:
            log.error("link broken", worker=worker, reason=str(error), **leg.served.log_fields)
            link.closed, answers = True, []
        for loan, frame in answers:
            self._settle(leg, link, loan, frame)
        if link.closed:
            self.lost(leg, worker, link)
        self._on_quiet(leg)
        # What has waited for a worker shows that there is load, which is the workers'.
        self.pump(inline=False)

    def _settle(self, leg: Leg, link: GatewayEnd[Batch], loan: Loan[Batch], frame: Frame) -> None:
        if frame.kind == Kind.RESULT:
            seconds = self._count(leg, loan.batch, frame)
            self._admission.computed(seconds / (1 if self.place == "model" else loan.rows))
            if leg.inline is not None:
                leg.inline.note(loan.rows, frame.compute / 1e9)
            self._pace = min(self._pace, BRIEF) * 0.9 + frame.compute * 1e-10
            self.batcher.done(loan.batch, link.outputs(loan))
        elif frame.kind == Kind.REFUSED:
            self.batcher.failed(loan.batch, RequestError(link.error_text(loan, frame)))
        elif frame.kind == Kind.FAILURE:
            text = link.error_text(loan, frame)
            log.warning(
                "batch failed",
                place=self.place,
                rows=loan.rows,
                reason=text,
                **leg.served.log_fields,
            )
            self.batcher.failed(loan.batch)
        else:
            self.batcher.give_back(loan.batch)

    def _count(self, leg: Leg, batch: Batch, frame: Frame) -> float:
        """Count a batch; the seconds that its process was busy with it, or with another gateway's."""
        compute = frame.compute / 1e9
        if not batch.direct:
            leg.count(batch.rows, compute, None)
            return compute
        taken = self._clock() - batch.started
        leg.count(batch.rows, compute, taken - compute)
        return taken

    def lost(self, leg: Leg, worker: int, link: GatewayEnd[Batch]) -> None:
        """A worker is dead: only the batch that it was computing is under suspicion."""
        loans = list(link.loans)
        self.drop(leg, worker)
        for loan in reversed(loans[1:]):
            self.batcher.give_back(loan.batch)
        if loans:
            log.warning("worker died on a batch", rows=loans[0].rows, **leg.served.log_fields)
            self.batcher.died(loans[0].batch)

    def drop(self, leg: Leg, worker: int) -> None:
        """Close a link of `leg`, whatever is on it."""
        link = leg.links.pop(worker, None)
        if link is not None:
            self._loop.remove_reader(link.fileno())
            link.loans.clear()
            link.close()
