"""The dispatcher: from a job specification to a committed artifact, over attempt records.

The truth is the manifest. An attempt is recorded before it is started; whoever finds a live one
adopts it, so that two pipelines on one key, or one after a crash, end with a single job. One
protocol for every runner.
"""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass

import msgspec

from pipelines.errors import JobFailed
from pipelines.events import Observer, Silent
from pipelines.runners.protocol import AttemptReference, Runner
from pipelines.runners.sizes import next_size
from pipelines.runners.states import KINDS, Ended, Kind, Queued, Remedy, Unknown, Vanished
from pipelines.stop import is_stopping, stopped
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
from registry.errors import NotFound

#: Seconds between two looks for the manifest of an attempt that another machine runs.
FOREIGN_POLL = 2.0


@dataclass(frozen=True)
class Policy:
    """How long an attempt may take (seconds), and how many a run makes for one step."""

    timeout: float = 3600.0
    attempts: int = 3


@dataclass
class _Tries:
    """How many attempts this run has opened for a step, and the size of the next."""

    size: str
    made: int = 0


class Dispatcher:
    """Makes artifacts by handing attempts to a runner. Shared between threads."""

    def __init__(
        self,
        store: Store,
        runner: Runner,
        run: str,
        policy: Policy | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._store = store
        self._runner = runner
        self._run = run
        self._policy = policy or Policy()
        self._observer = observer or Silent()
        self._following: dict[str, Attempt] = {}
        self._lock = threading.Lock()

    def make(self, spec: JobSpec, step: str, size: str = "s") -> Manifest:
        """The manifest of the artifact that `spec` describes, made now if it is not there.

        Raises:
            JobFailed: the job failed in a way that another try would not mend, or too often.
            StoreError: the store failed.
        """
        recipe = spec.recipe.recipe()
        tries = _Tries(size)
        while True:
            manifest = find_manifest(self._store, recipe)
            if manifest is not None:
                return manifest
            attempt = self._attempt(recipe, spec, tries, step)
            ended = self._follow(attempt, step)
            crashpoint("dispatch.after_end")
            manifest = self._settle(attempt, ended, recipe)
            if manifest is not None:
                return manifest
            if ended.kind == Kind.STOPPED:
                self._stop_others()
            self._consider(attempt, ended, tries, step)

    def _stop_others(self) -> None:
        """If the whole run is to stop: what waits for room in this process's queue, too."""
        if is_stopping(self._store, self._run):
            with self._lock:
                others = list(self._following.values())
            for other in others:
                self._runner.stop(other)

    def _attempt(self, recipe: Recipe, spec: JobSpec, tries: _Tries, step: str) -> Attempt:
        """The attempt to follow: a live one that somebody opened, or the next number."""
        if is_stopping(self._store, self._run):
            raise stopped(step)
        past = attempts_of(self._store, recipe.key)
        number = past[-1].number + 1 if past else 1
        if past:
            end = self._end(past[-1]) or self._left_end(past[-1], recipe)
            if end is None:
                return past[-1]
            if end.kind == Kind.OOM and tries.made == 0:
                tries.size = next_size(past[-1].size) or past[-1].size
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
        tries.made += 1
        self._observer.started(step, attempt.number, attempt.size)
        return attempt

    def _end(self, attempt: Attempt) -> AttemptEnd | None:
        try:
            return end_of(self._store, attempt)
        except NotFound:
            return None

    def _left_end(self, attempt: Attempt, recipe: Recipe) -> AttemptEnd | None:
        """The end of an attempt that failed before this run came, and that nobody recorded.

        Its pipeline was killed, or could not write to a full store. It is no failure of this run.
        """
        state = Unknown() if self._is_foreign(attempt) else self._runner.state(attempt)
        ended = state.as_ended() if isinstance(state, Vanished) else state
        if not isinstance(ended, Ended) or ended.kind is None:
            return None
        return None if self._settle(attempt, ended, recipe) else self._end(attempt)

    def _follow(self, attempt: Attempt, step: str) -> Ended:
        """Start the attempt (which does nothing where it runs already) and wait for its end."""
        if self._is_foreign(attempt):
            return self._await_foreign(attempt, step)
        if time.time() > attempt.deadline and isinstance(self._runner.state(attempt), Unknown):
            return Ended(None, None, Kind.LOST, reason="never started before its deadline")
        data = encode_record(attempt)
        digest = hashlib.sha256(data).hexdigest()
        crashpoint("dispatch.before_start")
        self._runner.start(attempt, AttemptReference(self._store.url, attempt.path, digest))
        crashpoint("dispatch.after_start")
        state = self._runner.state(attempt)
        if isinstance(state, Queued):
            self._observer.waiting(step, state.reason)
        with self._lock:
            self._following[attempt.write_id] = attempt
        try:
            return _ended(self._runner.wait(attempt))
        finally:
            with self._lock:
                del self._following[attempt.write_id]

    def _is_foreign(self, attempt: Attempt) -> bool:
        """Whether this runner cannot see it: another machine's, or another kind of runner's."""
        elsewhere = bool(self._runner.host) and attempt.host != self._runner.host
        return elsewhere or attempt.runner != self._runner.name

    def _await_foreign(self, attempt: Attempt, step: str) -> Ended:
        """Wait for what another machine runs: its manifest, its recorded end, or the deadline."""
        self._observer.waiting(step, f"{attempt.host} runs it")
        recipe = attempt.spec.recipe.recipe()
        while time.time() <= attempt.deadline:
            if find_manifest(self._store, recipe) is not None:
                return Ended(0, None, None)
            if (end := self._end(attempt)) is not None:
                return _recorded(end)
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

    def _consider(self, attempt: Attempt, ended: Ended, tries: _Tries, step: str) -> None:
        """Prepare another try, or raise what went wrong."""
        kind = ended.kind or Kind.NO_MANIFEST
        meaning, remedy = KINDS[kind]
        larger = next_size(attempt.size) if remedy is Remedy.NEXT_SIZE else attempt.size
        if remedy is Remedy.STOP or larger is None or tries.made >= self._policy.attempts:
            raise self._failure(attempt, ended, kind, meaning, step)
        tries.size = larger
        self._observer.retried(step, f"attempt {attempt.number} ended with {kind}: {meaning}")

    def _failure(
        self, attempt: Attempt, ended: Ended, kind: Kind, meaning: str, step: str
    ) -> JobFailed:
        last = _last_line(self._runner.log_tail(attempt))
        return JobFailed(
            f"{step} failed: {kind}",
            last or ended.reason or meaning,
            f"The log is {attempt.path.removesuffix('.json')}.log in the store.",
            kind,
            ended.exit_code,
        )


def _ended(ended: Ended | Vanished | None) -> Ended:
    assert isinstance(ended, Ended)
    return ended


def _recorded(end: AttemptEnd) -> Ended:
    """The end of an attempt as another pipeline recorded it."""
    kind = Kind(end.kind) if end.kind in set(Kind) else None
    return Ended(end.exit_code, None, kind, reason=end.reason)


def _last_line(log: bytes) -> str:
    lines = [line for line in log.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:500] if lines else ""
