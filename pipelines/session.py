"""What the tasks of one process share: store, index, pins, aliases, runner, run.

Luigi builds tasks from parameters alone, so what is not a parameter is found here. A session is
opened from the settings at its first use; `penstock run` and tests open one themselves.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Protocol

from pipelines.dispatch import Dispatcher, Policy
from pipelines.events import Observer, Silent
from pipelines.index import Index
from pipelines.order import DateOrder
from pipelines.pins import Pins
from pipelines.runners.protocol import Runner
from pipelines.runs import PlannedStep, new_run_id, start_run
from pipelines.sizing import Sizing
from registry.aliases import Aliases, open_aliases
from registry.artifacts.key import Recipe
from registry.artifacts.provenance import refuse_dirty_production, running_code
from registry.artifacts.store import Store, open_environment
from registry.errors import PenstockError
from registry.identity import who_am_i
from registry.settings import Settings


class Described(Protocol):
    """What a session must know of a task: Luigi's name for it, and its recipe."""

    task_id: str

    def describe(self) -> Recipe:
        """The recipe before retractions."""


#: The innermost session is the one that tasks find.
_open: list[Session] = []
_guard = threading.Lock()


class Session:
    """One environment, one runner, one run."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store | None = None,
        runner: Runner | None = None,
        aliases: Aliases | None = None,
        observer: Observer | None = None,
        asked: Mapping[str, Any] | None = None,
        order: DateOrder | None = None,
    ) -> None:
        self.settings = settings
        self.order = order or DateOrder()
        self.run = new_run_id()
        self.observer = observer or Silent()
        self.failures: list[PenstockError] = []
        self.made: list[str] = []
        self.done: list[str] = []
        self.planned: list[PlannedStep] = []
        self._store = store
        self._runner = runner
        self._aliases = aliases
        self._asked = dict(asked or {})
        self._recipes: dict[str, Recipe] = {}
        self._started = False
        self._lock = threading.RLock()

    @cached_property
    def store(self) -> Store:
        """The root of the environment."""
        return self._store or open_environment(self.settings)

    @cached_property
    def index(self) -> Index:
        """What exists there."""
        return Index(self.store)

    @cached_property
    def pins(self) -> Pins:
        """What was fixed for logical dates."""
        return Pins(self.store, self.index)

    @cached_property
    def aliases(self) -> Aliases:
        """What is live."""
        return self._aliases or open_aliases(self.settings, self.store)

    @property
    def runner(self) -> Runner:
        """The runner of jobs, opened at its first use."""
        with self._lock:
            if self._runner is None:
                self._runner = _open_runner(self.settings)
            return self._runner

    @cached_property
    def sizing(self) -> Sizing:
        """The first sizes of steps, from what earlier artifacts needed."""
        return Sizing(self.store, self.index)

    @cached_property
    def dispatcher(self) -> Dispatcher:
        """Hands attempts to the runner."""
        settings, runner = self.settings, self.runner
        policy = Policy(
            settings.job_timeout,
            settings.retries,
            settings.replacements,
            in_flight=settings.nomad_in_flight if runner.name == "nomad" else 0,
        )
        return Dispatcher(self.store, runner, self.run, policy, self.observer, self.sizing)

    def begin(self) -> str:
        """Record the run, once, before its first attempt or pin; returns its name.

        Raises:
            Refused: uncommitted code would write to prod.
        """
        with self._lock:
            if not self._started:
                code = running_code()
                refuse_dirty_production(self.settings.environment, code)
                who = who_am_i(self.settings)
                start_run(self.store, self.run, who, self._asked, code, self.planned)
                self._started = True
        return self.run

    @property
    def began(self) -> bool:
        """Whether the run was recorded."""
        return self._started

    def recipe(self, task: Described) -> Recipe:
        """The recipe of `task` at its present epoch, computed once in this session."""
        known = self._recipes.get(task.task_id)
        if known is None:
            known = self._recipes[task.task_id] = self.index.current(task.describe())
        return known

    def keys(self) -> list[str]:
        """The recipe keys that this session has come to."""
        return [recipe.key for recipe in list(self._recipes.values())]

    def forget(self) -> None:
        """Look again at what exists and what is pinned, at the next question."""
        for known in (self.__dict__.get("index"), self.__dict__.get("pins")):
            if known is not None:
                known.forget()

    def close(self) -> None:
        """Let go of the runner; jobs that run go on."""
        with self._lock:
            if self._runner is not None:
                self._runner.close()
                self._runner = None


def _open_runner(settings: Settings) -> Runner:
    """The runner on Nomad where NOMAD_ADDR names one, else that of this machine."""
    if os.environ.get("NOMAD_ADDR"):
        from pipelines.runners.nomad.runner import NomadRunner

        return NomadRunner.of(settings)
    from pipelines.runners.local import LocalRunner

    return LocalRunner.of(settings)


def current() -> Session:
    """The session of this process, opened from the environment's settings at first use."""
    with _guard:
        if not _open:
            _open.append(Session(Settings.load()))
        return _open[-1]


def _forget_all() -> None:
    """Luigi's own worker forks for each task, from a process that sees none of them commit."""
    for session in _open:
        session.forget()


os.register_at_fork(after_in_child=_forget_all)


@contextmanager
def using(session: Session) -> Iterator[Session]:
    """Make `session` the one that tasks find, and close it at the end."""
    with _guard:
        _open.append(session)
    try:
        yield session
    finally:
        with _guard:
            _open.remove(session)
        session.close()
