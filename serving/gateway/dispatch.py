"""The dispatcher: one model's requests, its generations, and the lanes in which they meet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from registry.logs import get_logger
from registry.models.places import Leg as Place
from registry.models.signature import Matrix
from serving.errors import Overloaded, RequestError
from serving.gateway.batch import Batch, Policy
from serving.gateway.course import Course
from serving.gateway.lane import Lane
from serving.gateway.leg import Leg
from serving.gateway.served import Served
from serving.gateway.watchdog import Watchdog
from serving.gateway.work import Stale, Work
from serving.link import GatewayEnd

log = get_logger(__name__)
PLACES: tuple[Place, ...] = ("pre", "model", "post")


class Dispatcher:
    """One model: its lanes, its active generation, and those that drain.

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
        self.active: Served | None = None
        #: Why no request is taken just now; empty: they are taken.
        self.suspended = ""
        self.policy = policy
        self._clock = clock
        self._watchdog = watchdog
        self._lanes = {p: Lane(p, policy, loop, clock, self._quiet) for p in PLACES}
        self._model = self._lanes["model"]
        for lane in self._lanes.values():
            lane.batcher.on_stale = self._begin_again
        self._courses: dict[Work, Course] = {}
        self._retiring: dict[int, tuple[Served, Callable[[], None]]] = {}

    # requests ---------------------------------------------------------------------------------

    def submit(self, work: Work, *, pump: bool = True) -> None:
        """Admit a request, to be batched after this turn of the loop; or, without `pump`, by `pump`.

        Raises:
            Overloaded, BodyTooLarge: it was not admitted.
            Stale: it is several requests, and this generation takes them one by one.
        """
        if self.active is None:
            raise Overloaded(f"the model {self.model} has no version that is ready yet")
        if self.suspended:
            raise self._unavailable()
        if self.active.staged:
            if work.split is not None:
                raise Stale
            self._admit_whole(work, self.active)
            return
        now = self._clock()
        if work.priority and self._model.batcher.rows:
            self._model.check_wait(work.deadline - now)
        self._model.batcher.admit(work, now)
        if pump:
            self._model.pump_soon()

    def pump(self) -> None:
        """Build batches now. Raises nothing: whoever calls has nothing to do with what waits."""
        try:
            self._model.pump()
        except Exception:
            log.exception("batches not built", model=self.model)

    def predict_at_once(self, served: Served, rows: Matrix) -> Matrix | None:
        """What this process itself predicts for rows of `served`; None: they have to be submitted."""
        if served is not self.active or served.staged or self.suspended:
            return None
        return self._model.predict_at_once(rows)

    def _admit_whole(self, work: Work, active: Served) -> None:
        """Admit a request that is to pass stages."""
        lane = self._lanes[active.entry.place]
        work.admitted = self._clock()
        patience = work.deadline - work.admitted
        for place in active.legs if work.priority else ():
            patience -= self._lanes[place].check_wait(patience)
        lane.batcher.check_room(work, self.rows - lane.batcher.rows)
        self._start(work, active)

    def _start(self, work: Work, active: Served) -> None:
        course = self._courses[work] = Course(work, self._enter, self._done)
        course.begin(active.entry)

    def _enter(self, part: Work, leg: Leg) -> None:
        part.admitted = self._clock()
        lane = self._lanes[leg.place]
        lane.batcher.enter(part)
        lane.pump_soon()

    def _done(self, course: Course) -> None:
        self._courses.pop(course.whole, None)
        self._try(course.whole)

    def _begin_again(self, work: Work) -> None:
        """What waits at one place belongs to another, since the generation has changed."""
        assert self.active is not None
        if work.split is not None:
            # On their way through stages requests are told apart; each begins by itself.
            work.settle(RequestError("the model has changed"))
        elif work.course is not None:
            work.course.begin(self.active.entry)
        else:
            self._start(work, self.active)

    def cancel(self, work: Work) -> None:
        """Forget a request whose client has gone."""
        course = self._courses.pop(work, None)
        if course is None:
            self._model.batcher.cancel(work)
            return
        if course.part is not None:
            self._lanes[course.place].batcher.cancel(course.part)
        work.cancel()

    def expire(self) -> None:
        """Answer the requests whose deadlines have passed."""
        for lane in self._lanes.values():
            lane.batcher.expire(self._clock())

    @property
    def rows(self) -> int:
        """Rows that wait."""
        return sum(lane.batcher.rows for lane in self._lanes.values())

    @property
    def ready(self) -> bool:
        """Whether a process of the active generation is there at each place."""
        return self.active is not None and self.active.ready and not self.suspended

    def suspend(self, generation: int, reason: str) -> None:
        """Refuse all requests at once, also those that wait; with no reason take them again.

        Only while `generation` is active: what is wrong with it is not with the one after it.
        """
        if self.active is not None and self.active.number != generation:
            return
        self.suspended = reason
        if reason:
            for lane in self._lanes.values():
                lane.batcher.refuse(self._unavailable())

    def _unavailable(self) -> Overloaded:
        return Overloaded(
            f"the model {self.model} cannot answer", self.suspended, "Try again later."
        )

    def check_ready(self, *, draining: bool) -> None:
        """Raise Overloaded unless a worker is there and the service is not `draining`."""
        if draining or not self.ready:
            raise Overloaded(f"the model {self.model} is not ready")

    # generations ------------------------------------------------------------------------------

    def connect(
        self, served: Served, process: int, link: GatewayEnd[Batch], place: Place = "model"
    ) -> None:
        """Use a new link to a process of `served` at `place`."""
        leg = served.legs.get(place)
        if leg is None:
            link.close()
            return
        if place == "pre" and (memory := served.encoder.memory) is not None:
            link.share(memory.read_only)
        self._lanes[place].connect(leg, process, link)

    def flip(self, served: Served) -> None:
        """Send every batch from now on to `served`."""
        self.active = served
        self.suspended = ""
        for place, lane in self._lanes.items():
            lane.flip(served.legs.get(place))
        # What passes stages is judged by its end, not by that of a part.
        direct = served.trial is not None and not served.staged
        self._model.batcher.on_settled = self._try if direct else None

    def _try(self, work: Work) -> None:
        """Count a request on trial, if it was the active generation that answered it."""
        active = self.active
        if active is not None and active.trial is not None and work.pin is active:
            active.trial.count(work, self._clock())
            if active.trial.over:
                self._model.batcher.on_settled = None

    def tried(self) -> tuple[int, int, int] | None:
        """Generation, requests on trial and bad ones since last asked; None if there were none."""
        active = self.active
        requests, bad = active.trial.news() if active and active.trial else (0, 0)
        return (active.number, requests, bad) if active and requests else None

    def retire(self, served: Served, retired: Callable[[], None]) -> None:
        """Close the links of `served` once its batches are done, then call `retired`."""
        self._retiring[served.number] = (served, retired)
        self._finish_retiring(served)

    def _quiet(self, leg: Leg) -> None:
        self._finish_retiring(leg.served)

    def _finish_retiring(self, served: Served) -> None:
        if served.number not in self._retiring or served.at_work:
            return
        for place, leg in served.legs.items():
            for process in list(leg.links):
                self._lanes[place].drop(leg, process)
        _, retired = self._retiring.pop(served.number)
        retired()

    # batches ----------------------------------------------------------------------------------

    def hung(self) -> list[tuple[int, int]]:
        """Generation and number of each process that hangs. Their batches are tried elsewhere."""
        if self._watchdog is None:
            return []
        using = [*([self.active] if self.active else ()), *(s for s, _ in self._retiring.values())]
        legs = [leg for served in using for leg in served.legs.values()]
        owners = {link: (leg, number) for leg in legs for number, link in leg.links.items()}
        hung = [(*owners[link], link) for link in self._watchdog.look(owners, self._clock())]
        for leg, process, link in hung:
            lane = self._lanes[leg.place]
            rows = link.loans[0].rows
            log.error(
                "worker hangs", place=leg.place, worker=process, rows=rows, **leg.served.log_fields
            )
            lane.lost(leg, process, link)
            self._quiet(leg)
            lane.pump_soon()
        return [(leg.served.number, process) for leg, process, _ in hung]

    def gauges(self) -> dict[str, Any]:
        """Values for a scrape."""
        labels = (("model", self.model),)
        waiting = sum(lane.batcher.unsettled for lane in self._lanes.values())
        return {
            "pending_request_count": (labels, waiting),
            "pending_row_count": (labels, self.rows),
            "ready": (labels, int(self.ready)),
        }
