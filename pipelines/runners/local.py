"""The runner of one machine: a shim process per job, capacity by locks, nothing to install.

Jobs outlive the pipeline. A runner made later, in another process, reads the same folders and
goes on waiting. The queue is the one thing that lives in the pipeline's memory: who was queued was
never started, and the next pipeline starts it.
"""

from __future__ import annotations

import platform
import threading
import time
from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import Self

from pipelines.runners.folder import JobFolder, live_jobs
from pipelines.runners.launch import Launcher, Limits
from pipelines.runners.protocol import AttemptReference, Command, LiveJob, job_command
from pipelines.runners.sizes import Capacity, machine_capacity, size_named
from pipelines.runners.states import Ended, Queued, State, Unknown, Vanished
from pipelines.runners.watch import Watcher
from registry.artifacts.attempt import Attempt
from registry.errors import PenstockError
from registry.settings import Settings


class LocalRunner:
    """Runs jobs as processes of this machine, below `var`/jobs.

    Args:
        var: folder of this machine, on a local file system (the locks are `flock`).
        capacity: what all jobs together may take; default: the machine, or its container.
        command: what to run for an attempt; default: `python -m jobs …`.
        host: name of this machine in attempt records.
        limits: what every job is held to.
    """

    name = "local"

    def __init__(
        self, var: Path, capacity: Capacity | None = None, *, command: Command = job_command,
        host: str | None = None, limits: Limits | None = None,
    ) -> None:  # fmt: skip
        self.host = host or platform.node()
        self.capacity = capacity or machine_capacity()
        self._jobs = var.absolute() / "jobs"
        self._launcher = Launcher(self._jobs, self.capacity, command, limits or Limits())
        self._watcher = Watcher(self._look, self._tick)
        self._lock = threading.Lock()
        # By write id, in the order of asking.
        self._queue: OrderedDict[str, tuple[Attempt, AttemptReference]] = OrderedDict()
        self._shortage = ""
        self._failed: dict[str, PenstockError] = {}

    @classmethod
    def of(cls, settings: Settings, command: Command = job_command) -> LocalRunner:
        """The local runner that the settings describe."""
        machine = machine_capacity()
        capacity = Capacity(
            settings.local_cpus or machine.cpus, settings.local_memory_mb or machine.memory_mb
        )
        limits = Limits(settings.local_log_mb * 2**20, settings.local_grace)
        return cls(settings.var, capacity, command=command, limits=limits)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def start(self, attempt: Attempt, reference: AttemptReference) -> None:
        """Start the attempt's job or queue it; see `Runner.start`."""
        size_named(attempt.size)
        self._watcher.check_open()
        if self._foreign(attempt) or self._folder(attempt).begun():
            return
        self._failed.pop(attempt.write_id, None)
        waits = self._enqueue(attempt, reference, behind_others=True)
        if not waits and (shortage := self._launcher.launch(attempt, reference)):
            self._shortage = shortage
            self._enqueue(attempt, reference)
        self._watcher.stir()

    def state(self, attempt: Attempt) -> State:
        """Where the attempt stands now; see `Runner.state`."""
        if reason := self._foreign(attempt):
            return Unknown(reason)
        with self._lock:
            if attempt.write_id in self._queue:
                ahead = list(self._queue).index(attempt.write_id)
                return Queued(f"{self._shortage}; {ahead} before it" if ahead else self._shortage)
        return self._folder(attempt).state()

    def wait(self, attempt: Attempt, timeout: float | None = None) -> Ended | None:
        """How the attempt ended, None after `timeout` seconds; see `Runner.wait`."""
        return self._watcher.wait(attempt, timeout)

    def stop(self, attempt: Attempt) -> None:
        """Take the attempt from the queue, or have its shim end it; see `Runner.stop`."""
        folder = self._folder(attempt)
        with self._lock:
            queued = self._queue.pop(attempt.write_id, None)
        if queued or not isinstance(folder.state(), Unknown | Ended | Vanished):
            folder.ask_to_end("stopped", "stopped on request")
            self._care(attempt, folder)
        self._watcher.stir()

    def log_tail(self, attempt: Attempt, limit: int = 65536) -> bytes:
        """The last `limit` bytes that the job printed; see `Runner.log_tail`."""
        return self._folder(attempt).log_tail(limit)

    def live(self) -> list[LiveJob]:
        """The jobs of this machine that have not ended; see `Runner.live`."""
        return live_jobs(self._jobs)

    def pipeline_lives(self, allocation: str) -> bool | None:
        """Nothing is known of allocations here; see `Runner.pipeline_lives`."""
        del allocation
        return None

    def close(self) -> None:
        """Wake all who wait and forget the queue; see `Runner.close`."""
        self._watcher.close()
        with self._lock:
            self._queue.clear()

    def _folder(self, attempt: Attempt) -> JobFolder:
        return JobFolder(self._jobs, attempt)

    def _foreign(self, attempt: Attempt) -> str:
        """Why this runner cannot see the attempt; empty when it can."""
        if attempt.runner != self.name:
            return f"it belongs to the runner {attempt.runner!r}"
        return "" if attempt.host == self.host else f"it runs on the machine {attempt.host!r}"

    def _enqueue(
        self, attempt: Attempt, reference: AttemptReference, behind_others: bool = False
    ) -> bool:
        """Add to the queue, `behind_others`: only if there are any. Whether it is in the queue."""
        with self._lock:
            if self._queue or not behind_others:
                self._queue.setdefault(attempt.write_id, (attempt, reference))
                return True
            return False

    def _look(self, attempt: Attempt) -> Ended | None:
        """How the attempt ended, None while it has not. Raises what starting it raised."""
        if attempt.write_id in self._queue or self._foreign(attempt):
            return None
        if attempt.write_id in self._failed:
            raise self._failed[attempt.write_id]
        folder = self._folder(attempt)
        state = folder.state()
        if isinstance(state, Ended):
            return state
        if isinstance(state, Vanished):
            return state.as_ended()
        self._care(attempt, folder)
        return None

    def _care(self, attempt: Attempt, folder: JobFolder) -> None:
        """End a job whose shim was killed, as the shim would have."""
        if not folder.is_orphan():
            return
        if time.time() >= attempt.deadline:
            folder.ask_to_end("timeout", "the deadline of the attempt passed")
        if folder.is_asked_to_end():
            folder.kill()

    def _tick(self) -> bool:
        """Reap shims and start who is queued, in order; True while somebody is queued."""
        self._launcher.reap()
        while (head := self._head()) is not None:
            if not self._start_head(*head):
                return True
        return False

    def _head(self) -> tuple[Attempt, AttemptReference] | None:
        with self._lock:
            return next(iter(self._queue.values()), None)

    def _start_head(self, attempt: Attempt, reference: AttemptReference) -> bool:
        """Start the head of the queue; False when there is still no room."""
        try:
            if shortage := self._launcher.launch(attempt, reference):
                self._shortage = shortage
                return False
        except PenstockError as error:  # told to whom waits for it
            self._failed[attempt.write_id] = error
        with self._lock:
            self._queue.pop(attempt.write_id, None)
        return True
