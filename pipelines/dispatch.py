"""The dispatcher: from a job specification to a committed artifact, over attempt records.

The truth is the manifest. An attempt is recorded before it is started; whoever finds a live one
adopts it, so that two pipelines on one key, or one after a crash, end with a single job. One
protocol for every runner.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from pipelines.endings import last_line, recorded
from pipelines.errors import JobFailed
from pipelines.events import Observer, Silent
from pipelines.needs import larger
from pipelines.runners.protocol import AttemptReference, Runner, RunnerAway
from pipelines.runners.sizes import next_size
from pipelines.runners.states import KINDS, Ended, Kind, State, Unknown, Vanished
from pipelines.sizing import Sizing
from pipelines.stop import StopSign, sees, stopped
from pipelines.tries import Policy, Tries
from pipelines.turns import Turns
from registry.artifacts.attempt import (
    Attempt,
    AttemptEnd,
    JobSpec,
    attempts_of,
    close_attempt,
    end_of,
    open_attempt,
)
from registry.artifacts.fetch import find_manifest
from registry.artifacts.key import Recipe
from registry.artifacts.manifest import Manifest
from registry.artifacts.records import encode_record
from registry.artifacts.store.protocol import Store
from registry.crashpoints import crashpoint
from registry.errors import NotFound, PenstockError

#: Seconds between two looks for the manifest of an attempt that another machine runs.
FOREIGN_POLL = 2.0
#: Seconds between two looks at why an attempt waits: at first, and at most (it doubles).
FIRST_LOOK, LAST_LOOK = 1.0, 30.0

T = TypeVar("T")

__all__ = ["Dispatcher", "Policy"]


class Dispatcher:
    """Makes artifacts by handing attempts to a runner. Shared between threads."""

    def __init__(
        self,
        store: Store,
        runner: Runner,
        run: str,
        policy: Policy | None = None,
        observer: Observer | None = None,
        sizing: Sizing | None = None,
    ) -> None:
        self._store = store
        self._runner = runner
        self._run = run
        self._policy = policy or Policy()
        self._observer = observer or Silent()
        self._sizing = sizing
        self._sign = StopSign(store, run)
        self._turns = Turns(self._policy.in_flight)
        self._following: dict[str, Attempt] = {}
        self._lock = threading.Lock()

    def make(self, spec: JobSpec, step: str, size: str = "s") -> Manifest:
        """The manifest of the artifact that `spec` describes, made now if it is not there.

        Args:
            step: how people read what it is for.
            size: what its use case declares; what earlier artifacts needed comes first.

        Raises:
            JobFailed: the job failed in a way that another try would not mend, or too often.
            RunnerAway: the runner's world could not be reached for longer than a job may take.
            StoreError: the store failed.
        """
        recipe = spec.recipe.recipe()
        manifest = find_manifest(self._store, recipe)
        if manifest is not None:
            return manifest
        read = self._sizing.input_bytes(spec) if self._sizing else None
        first = self._sizing.first(recipe, size, read) if self._sizing else size
        tries = Tries(self._policy, first)
        while True:
            with self._turns.one(lambda reason: self._observer.waiting(step, reason)):
                manifest, attempt, ended = self._try(recipe, spec, tries, step)
            if manifest is not None:
                if tries.climbed and self._sizing:
                    self._sizing.learn(recipe, tries.size, read)
                return manifest
            self._consider(attempt, ended, tries, step)

    def _try(
        self, recipe: Recipe, spec: JobSpec, tries: Tries, step: str
    ) -> tuple[Manifest | None, Attempt, Ended]:
        """Follow one attempt to its end: what it made, which it was and how it ended."""
        attempt = self._attempt(recipe, spec, tries, step)
        ended = self._follow(attempt, step)
        crashpoint("dispatch.after_end")
        manifest = self._settle(attempt, ended, recipe)
        if manifest is None and ended.kind == Kind.STOPPED:
            with self._lock:  # what waits for room in this process's queue, too
                others = list(self._following.values())
            self._stop_if_asked(others)
        return manifest, attempt, ended

    def _stop_if_asked(self, attempts: Sequence[Attempt]) -> None:
        """Stop these if the whole run is to stop."""
        if self._sign.is_up(now=True):
            for attempt in attempts:
                with contextlib.suppress(RunnerAway):  # it ends at its deadline
                    self._runner.stop(attempt)

    def _attempt(self, recipe: Recipe, spec: JobSpec, tries: Tries, step: str) -> Attempt:
        """The attempt to follow: a live one that somebody opened, or the next number."""
        if self._sign.is_up(now=True):
            raise stopped(step)
        past = attempts_of(self._store, recipe.key)
        number = past[-1].number + 1 if past else 1
        if past:
            end = self._end(past[-1]) or self._left_end(past[-1], recipe, step)
            if end is None:
                self._tell_adopted(past[-1], step)
                return past[-1]
            if end.kind == Kind.OOM and tries.made == 0:
                tries.size = larger(tries.size, next_size(past[-1].size) or past[-1].size)
        attempt = open_attempt(
            self._store,
            spec,
            number,
            size=tries.size,
            runner=self._runner.name,
            host=self._runner.host,
            run=self._run,
            timeout=self._policy.timeout,
            step=step,
        )
        tries.opened()
        if attempt.run == self._run:
            self._observer.started(step, attempt.number, attempt.size)
        else:  # another run was faster
            self._tell_adopted(attempt, step)
        return attempt

    def _tell_adopted(self, attempt: Attempt, step: str) -> None:
        if attempt.run != self._run:
            reason = f"attempt {attempt.number} was begun by run {attempt.run}, and is followed"
            self._observer.waiting(step, reason)

    def _end(self, attempt: Attempt) -> AttemptEnd | None:
        try:
            return end_of(self._store, attempt)
        except NotFound:
            return None

    def _left_end(self, attempt: Attempt, recipe: Recipe, step: str) -> AttemptEnd | None:
        """The end of an attempt that failed before this run came, and that nobody recorded.

        Its pipeline was killed, or could not write to a full store. It is no failure of this run.
        """
        state = self._state(attempt, step) if sees(self._runner, attempt) else Unknown()
        ended = state.as_ended() if isinstance(state, Vanished) else state
        if not isinstance(ended, Ended) or ended.kind is None:
            return None
        return None if self._settle(attempt, ended, recipe) else self._end(attempt)

    def _follow(self, attempt: Attempt, step: str) -> Ended:
        """Start the attempt (which does nothing where it runs already) and wait for its end."""
        if not sees(self._runner, attempt):
            return self._await_foreign(attempt, step)
        if time.time() > attempt.deadline and isinstance(self._state(attempt, step), Unknown):
            return Ended(None, None, Kind.LOST, reason="never started before its deadline")
        digest = hashlib.sha256(encode_record(attempt)).hexdigest()
        reference = AttemptReference(self._store.url, attempt.path, digest)
        crashpoint("dispatch.before_start")
        self._reach(lambda: self._runner.start(attempt, reference), step)
        crashpoint("dispatch.after_start")
        with self._lock:
            self._following[attempt.write_id] = attempt
        try:
            # Who asked for a stop between the record and the start found no job to stop.
            self._stop_if_asked([attempt])
            return self._wait(attempt, step)
        finally:
            with self._lock:
                del self._following[attempt.write_id]

    def _wait(self, attempt: Attempt, step: str) -> Ended:
        """Wait for the end, and tell now and then what the attempt waits for."""
        told, pause = "", FIRST_LOOK
        while True:
            reason = self._reason(attempt)
            if reason and reason != told:
                self._observer.waiting(step, reason)
                told = reason
            ended = self._runner.wait(attempt, pause)
            if ended is not None:
                return ended
            pause = min(LAST_LOOK, 2 * pause)

    def _reason(self, attempt: Attempt) -> str:
        """What an attempt that has not ended waits for; empty when it runs as it should."""
        try:
            state = self._runner.state(attempt)
        except RunnerAway as away:
            return _words(away)
        ended = isinstance(state, Ended | Vanished | Unknown)
        return "" if ended else state.reason

    def _state(self, attempt: Attempt, step: str) -> State:
        return self._reach(lambda: self._runner.state(attempt), step)

    def _reach(self, call: Callable[[], T], step: str) -> T:
        """What `call` returns, tried again while the runner is away: that alone fails no run."""
        until, pause = time.monotonic() + self._policy.timeout, FIRST_LOOK
        while True:
            try:
                return call()
            except RunnerAway as away:
                if time.monotonic() > until:
                    raise
                self._observer.waiting(step, _words(away))
            self._pause(pause)
            if self._sign.is_up():
                raise stopped(step)
            pause = min(LAST_LOOK, 2 * pause)

    def _pause(self, seconds: float) -> None:
        """Let `seconds` pass, or fewer if the run is to stop."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._sign.is_up():
            threading.Event().wait(min(1.0, left))

    def _await_foreign(self, attempt: Attempt, step: str) -> Ended:
        """Wait for what another machine runs: its manifest, its recorded end, or the deadline."""
        self._observer.waiting(step, f"{attempt.host} runs it")
        recipe = attempt.spec.recipe.recipe()
        while time.time() <= attempt.deadline:
            if find_manifest(self._store, recipe) is not None:
                return Ended(0, None, None)
            if (end := self._end(attempt)) is not None:
                return recorded(end)
            time.sleep(FOREIGN_POLL)
        return Ended(None, None, Kind.LOST, reason=f"{attempt.host} did not commit it in time")

    def _settle(self, attempt: Attempt, ended: Ended, recipe: Recipe) -> Manifest | None:
        """Keep the end and the log beside the attempt's record; the manifest if there is one."""
        manifest = find_manifest(self._store, recipe)
        kind = "committed" if manifest else (ended.kind or Kind.NO_MANIFEST).value
        used = msgspec.structs.asdict(ended.usage) if ended.usage else {}
        end = AttemptEnd(kind, ended.reason, ended.exit_code, used, time.time())
        close_attempt(self._store, attempt, end, self._runner.log_tail(attempt))
        return manifest

    def _consider(self, attempt: Attempt, ended: Ended, tries: Tries, step: str) -> None:
        """Prepare another try, or raise what went wrong."""
        kind = ended.kind or Kind.NO_MANIFEST
        meaning = KINDS[kind][0]
        pause = tries.next_pause(kind, attempt.size)
        if pause is None:
            raise self._failure(attempt, ended, kind, meaning, step)
        why = f": {ended.reason}" if ended.reason else ""
        self._observer.retried(step, f"attempt {attempt.number} ended with {kind}: {meaning}{why}")
        self._pause(pause)

    def _failure(
        self, attempt: Attempt, ended: Ended, kind: Kind, meaning: str, step: str
    ) -> JobFailed:
        last = last_line(self._runner.log_tail(attempt))
        return JobFailed(
            f"{step} failed: {kind}",
            last or ended.reason or meaning,
            f"The log is {attempt.path.removesuffix('.json')}.log in the store.",
            kind,
            ended.exit_code,
        )


def _words(error: PenstockError) -> str:
    return f"{error.what}: {error.why}"
