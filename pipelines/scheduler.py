"""A scheduler for one worker in one process, whose cost does not grow with the square of a run.

Luigi's own looks at every pending task each time it is asked for work (spotify/luigi#1750). This
one counts, for each task, the requirements that are not done, and keeps those with none in a heap,
as in Kahn's topological sort (CACM 5:11, 1962). Everything else is Luigi's.

A task is as urgent as what waits for it. Among equals the one of the higher priority of its own goes
first, then the one that was added first: the order of a run does not depend on the order of sets.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from typing import Any

from luigi.scheduler import Scheduler
from luigi.task_status import DONE, PENDING, RUNNING

#: Of a task among equally urgent ones: its own priority, negated, and when it was added.
_Place = tuple[float, int]


class ReadyScheduler(Scheduler):
    """Luigi's scheduler with a queue of tasks that are ready to run."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)  # type: ignore[no-untyped-call]
        self._order = itertools.count()
        self._ready: list[tuple[float, _Place, str]] = []
        self._places: dict[str, _Place] = {}
        self._missing: dict[str, set[str]] = {}
        self._dependents: defaultdict[str, list[str]] = defaultdict(list)

    def add_task(self, *args: Any, **task: Any) -> None:
        """Note a task or its new status, and what becomes ready by it."""
        name, status = task["task_id"], task.get("status", PENDING)
        self._places.setdefault(name, (-task.get("priority", 0), next(self._order)))
        super().add_task(*args, **task)
        if status == DONE:
            self._release(name)
        elif status == PENDING and (task.get("runnable") or task.get("new_deps")):
            self._enqueue(name)

    def get_work(self, *_: Any, worker: str, **__: Any) -> dict[str, Any]:
        """The ready task of the highest priority, or none."""
        name = self._next()
        if name is None:
            return self._reply(worker)
        task = self._state.get_task(name)
        self._state.set_status(task, RUNNING, self._config)
        task.worker_running = worker
        task.resources_running = dict(task.resources or {})
        return self._reply(worker, task_id=name, task_family=task.family, task_params=task.params)

    def count_pending(self, worker: str) -> dict[str, Any]:
        """How much is left; the worker asks when it has no processes of its own."""
        return self._reply(worker)

    def _reply(self, worker: str, **work: Any) -> dict[str, Any]:
        """What a worker expects; with one worker all pending tasks are its own."""
        pending = self._state.get_active_task_count_for_status(PENDING)
        counts = dict.fromkeys(
            ("n_pending_tasks", "n_unique_pending", "n_pending_last_scheduled"), pending
        )
        state = self._state.get_worker(worker).state
        return {"task_id": None, "running_tasks": [], "worker_state": state, **counts, **work}

    def _enqueue(self, name: str) -> None:
        requirements = self._state.get_task(name).deps or ()
        missing = {dep for dep in requirements if not self._is_done(dep)}
        self._missing[name] = missing
        for dep in missing:
            self._dependents[dep].append(name)
        if not missing:
            self._push(name)

    def _release(self, name: str) -> None:
        self._missing.pop(name, None)
        for dependent in self._dependents.pop(name, ()):
            missing = self._missing.get(dependent)
            if missing is not None and name in missing:
                missing.remove(name)
                if not missing:
                    self._push(dependent)

    def _update_priority(self, task: Any, prio: float, worker: str) -> None:
        """Queue again, further ahead, what became more urgent while it waited."""
        before = task.priority
        super()._update_priority(task, prio, worker)  # type: ignore[no-untyped-call]
        if task.priority > before and self._missing.get(task.id) == set():
            self._push(task.id)

    def _push(self, name: str) -> None:
        priority = self._state.get_task(name).priority
        heapq.heappush(self._ready, (-priority, self._places[name], name))

    def _next(self) -> str | None:
        """Pop what is still pending and ready; a task may have been queued more than once.

        What waits for one of Luigi's resources goes back to its place.
        """
        waiting: list[tuple[float, _Place, str]] = []
        found = None
        while self._ready and found is None:
            entry = heapq.heappop(self._ready)
            task = self._state.get_task(entry[2])
            if task.status != PENDING or self._missing.get(entry[2]):
                continue
            if task.resources and not self._has_room(task.resources):
                waiting.append(entry)
            else:
                found = entry[2]
        for entry in waiting:
            heapq.heappush(self._ready, entry)
        return found

    def _has_room(self, resources: dict[str, int]) -> bool:
        used = self._used_resources()  # type: ignore[no-untyped-call]
        return bool(self._has_resources(resources, used))  # type: ignore[no-untyped-call]

    def _is_done(self, name: str) -> bool:
        task = self._state.get_task(name)
        return task is not None and task.status == DONE
