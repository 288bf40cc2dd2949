"""A Luigi worker whose tasks wait in threads instead of forked processes.

A step only waits for a job, so a process of its own would cost memory for nothing: 300 waiting
tasks take about a gigabyte as processes and next to nothing as threads.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import luigi.worker
from luigi.scheduler import Scheduler

from pipelines.scheduler import ReadyScheduler


class ThreadedWorker(luigi.worker.Worker):
    """Luigi's worker with threads."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)  # type: ignore[no-untyped-call]
        self._task_result_queue = ResultQueue()  # type: ignore[assignment]

    def _add(self, task: luigi.Task, is_complete: Any) -> Iterator[luigi.Task]:
        """Note a task; what an earlier root led to is not walked again.

        Luigi walks each root's whole tree. The roots of a backfill share theirs: the verdict of a
        date needs that of the date before.
        """
        if task.task_id not in self._scheduled_tasks:
            yield from super()._add(task, is_complete)  # type: ignore[no-untyped-call]

    def _create_task_process(self, task: luigi.Task) -> WaitingTask:
        reporter = luigi.worker.TaskStatusReporter(self._scheduler, task.task_id, self._id, None)
        inner = luigi.worker.TaskProcess(
            task,
            self._id,
            self._task_result_queue,
            reporter,
            use_multiprocessing=False,
            worker_timeout=self._config.timeout,
            check_unfulfilled_deps=self._config.check_unfulfilled_deps,
            check_complete_on_run=self._config.check_complete_on_run,
        )
        return WaitingTask(inner)


class ResultQueue(queue.SimpleQueue[Any]):
    """Results of tasks; Luigi closes what it expects to be a queue between processes."""

    def close(self) -> None:
        """Nothing to close within one process."""


class WaitingTask:
    """One task in a thread, with the face that Luigi's worker knows from processes."""

    #: So that the worker calls `start` and goes on.
    use_multiprocessing = True
    #: A thread leaves no exit code; failures arrive through the result queue.
    exitcode = None

    def __init__(self, inner: luigi.worker.TaskProcess) -> None:
        self.task = inner.task
        self.timeout_time = inner.timeout_time
        self.worker_timeout = inner.worker_timeout
        self.status_reporter = inner.status_reporter
        self._thread = threading.Thread(target=inner.run, name=inner.task.task_id, daemon=True)

    def start(self) -> None:
        """Begin to run the task."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether the task still runs."""
        return self._thread.is_alive()

    def terminate(self) -> None:
        """Nothing to end here: the job has a deadline of its own, kept by the runner."""


class ThreadedFactory:
    """Gives `luigi.build` the worker and the scheduler of this package."""

    def create_local_scheduler(self) -> Scheduler:
        """A scheduler for this run; a failed step is final for it."""
        return ReadyScheduler(retry_delay=-1, retry_count=1, prune_on_get_work=False)

    def create_remote_scheduler(self, url: str) -> Any:
        """Luigi's central scheduler, where a team runs one."""
        from luigi.rpc import RemoteScheduler

        return RemoteScheduler(url)

    def create_worker(
        self, scheduler: Scheduler, worker_processes: int, assistant: bool = False
    ) -> ThreadedWorker:
        """A worker that runs `worker_processes` tasks at once."""
        return ThreadedWorker(
            scheduler=scheduler,
            worker_processes=max(1, worker_processes),
            assistant=assistant,
            check_complete_on_run=True,
            no_install_shutdown_handler=True,
        )
