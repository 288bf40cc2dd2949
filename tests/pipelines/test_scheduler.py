"""The scheduler and the worker with threads, with Luigi tasks that only note what happened."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections import Counter
from typing import Any, ClassVar

import luigi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.scheduler import ReadyScheduler
from pipelines.worker import ThreadedFactory


class Notes:
    """What the tasks of one build did, in order; tasks find it by number."""

    books: ClassVar[dict[int, Notes]] = {}

    def __init__(self) -> None:
        self.number = len(self.books)
        self.books[self.number] = self
        self.graph: dict[int, list[int]] = {}
        self.failing: set[int] = set()
        self.done: set[int] = set()
        self.log: list[tuple[str, int]] = []
        self.priorities: dict[int, int] = {}
        self.yields: dict[int, list[int]] = {}
        self.hold = threading.Event()
        self.holding: set[int] = set()

    def started(self) -> list[int]:
        """The tasks that ran, in the order of their starts."""
        return [name for what, name in self.log if what == "start"]


class Noted(luigi.Task):
    """Writes start and end into the notes."""

    book = luigi.IntParameter()
    name = luigi.IntParameter()
    retry_count = 1

    @property
    def notes(self) -> Notes:
        return Notes.books[self.book]

    @property
    def priority(self) -> int:  # type: ignore[override]  # Luigi's is a class attribute
        return self.notes.priorities.get(self.name, 0)

    def requires(self) -> list[Noted]:
        return [self.other(name) for name in self.notes.graph.get(self.name, [])]

    def other(self, name: int) -> Noted:
        return Noted(book=self.book, name=name)

    def complete(self) -> bool:
        return self.name in self.notes.done

    def run(self) -> Any:
        notes = self.notes
        notes.log.append(("start", self.name))
        for name in notes.yields.get(self.name, ()):
            yield self.other(name)
        if self.name in notes.holding:
            notes.hold.wait(30)
        if self.name in notes.failing:
            raise RuntimeError("as told")
        notes.done.add(self.name)
        notes.log.append(("end", self.name))


class Scarce(Noted):
    """Takes the one unit of a resource."""

    resources = {"database": 1}  # noqa: RUF012 - as Luigi's users write it

    def run(self) -> Any:
        self.notes.log.append(("start", self.name))
        time.sleep(0.002)
        self.notes.done.add(self.name)
        self.notes.log.append(("end", self.name))


class Broken(Noted):
    """Its requirements cannot be told."""

    def requires(self) -> list[Noted]:
        raise RuntimeError("nobody knows")


class External(luigi.ExternalTask):
    """Something that only others could make."""

    def complete(self) -> bool:
        return False


class NeedsExternal(Noted):
    def requires(self) -> Any:
        return [External()]


def build(notes: Notes, *names: int, workers: int = 4) -> Any:
    roots = [Noted(book=notes.number, name=name) for name in names]
    return build_tasks(*roots, workers=workers)


def build_tasks(*roots: luigi.Task, workers: int = 4, plain: bool = False) -> Any:
    factory = None if plain else ThreadedFactory()
    return luigi.build(
        list(roots),
        worker_scheduler_factory=factory,
        local_scheduler=True,
        workers=1 if plain else workers,
        detailed_summary=True,
        log_level="CRITICAL",
    )


def below(graph: dict[int, list[int]], failing: set[int]) -> set[int]:
    """The tasks that need one that fails, by trying until nothing changes."""
    unrunnable: set[int] = set()
    while True:
        more = {
            name
            for name, needs in graph.items()
            if name not in unrunnable and (set(needs) & (failing | unrunnable))
        }
        if not more:
            return unrunnable
        unrunnable |= more


def check(notes: Notes) -> None:
    """Each task ran once, after all it needs, unless something below it failed."""
    ends: set[int] = set()
    for what, name in notes.log:
        if what == "end":
            ends.add(name)
        else:
            assert set(notes.graph[name]) <= ends, f"{name} started before what it needs"
    blocked = below(notes.graph, notes.failing)
    assert sorted(notes.started()) == sorted(set(notes.graph) - blocked)
    assert ends == set(notes.graph) - blocked - notes.failing


@st.composite
def graphs(draw: st.DrawFn) -> dict[int, list[int]]:
    """Graphs without cycles: a task needs only smaller numbers, listed in any order."""
    size = draw(st.integers(1, 12))
    needs = [draw(st.lists(st.integers(0, n - 1), unique=True)) if n else [] for n in range(size)]
    return dict(enumerate(needs))


@settings(max_examples=40)
@given(graph=graphs(), data=st.data(), workers=st.sampled_from([2, 3, 16]), plain=st.booleans())
def test_any_graph_runs_in_its_order(graph, data, workers, plain):
    notes = Notes()
    notes.graph = graph
    notes.failing = data.draw(st.sets(st.sampled_from(sorted(graph)), max_size=2))
    notes.priorities = data.draw(st.dictionaries(st.sampled_from(sorted(graph)), st.integers(0, 9)))
    roots = [Noted(book=notes.number, name=name) for name in reversed(graph)]
    outcome = build_tasks(*roots, workers=workers, plain=plain)
    check(notes)
    assert (outcome.status.name == "SUCCESS") == (not notes.failing)


@settings(max_examples=25)
@given(graph=graphs(), data=st.data())
def test_what_is_required_while_running_is_made_first(graph, data):
    """As many of the requirements as one likes may be told only when the task runs."""
    notes = Notes()
    notes.yields = {
        name: data.draw(st.lists(st.sampled_from(needs), unique=True)) if needs else []
        for name, needs in graph.items()
    }
    notes.graph = {
        name: [n for n in needs if n not in notes.yields[name]] for name, needs in graph.items()
    }
    outcome = build(notes, *graph, workers=3)
    assert outcome.status.name == "SUCCESS"
    assert notes.done == set(graph)
    ends = [name for what, name in notes.log if what == "end"]
    assert sorted(ends) == sorted(graph)
    place = {name: position for position, name in enumerate(ends)}
    assert all(place[need] < place[name] for name, needs in graph.items() for need in needs)


def test_a_diamond_runs_each_once():
    notes = Notes()
    notes.graph = {0: [], 1: [0], 2: [0], 3: [1, 2]}
    build(notes, 3)
    check(notes)


def test_what_roots_share_is_walked_once(monkeypatch):
    """As in a backfill, where each date's verdict needs that of the date before."""
    notes = Notes()
    notes.graph = {name: [name - 1] if name else [] for name in range(30)}
    walked: list[int] = []
    requires = Noted.requires

    def counted(task: Noted) -> list[Noted]:
        walked.append(task.name)
        return requires(task)

    monkeypatch.setattr(Noted, "requires", counted)
    build(notes, *range(30))
    check(notes)
    # Once when it is added, once more before it runs.
    assert max(Counter(walked).values()) <= 2


def test_what_is_complete_is_left_alone():
    notes = Notes()
    notes.graph = {0: [], 1: [0], 2: [1]}
    notes.done = {1}
    build(notes, 2)
    assert notes.started() == [2]


def test_the_higher_priority_goes_first():
    notes = Notes()
    notes.graph = {name: [] for name in range(6)}
    notes.graph[9] = list(range(6))
    notes.priorities = {name: name for name in range(6)}
    scheduler = ReadyScheduler()
    assert _handed_out(scheduler, notes, 9) == [5, 4, 3, 2, 1, 0, 9]


def test_what_an_urgent_task_needs_is_urgent():
    """Luigi raises the priority of what a task needs; also of what waits in the queue by then."""
    notes = Notes()
    # Luigi asks about the last requirement first, so 0 and 2 are queued before 7 is known.
    notes.graph = {0: [], 2: [], 7: [2], 8: [2, 0], 9: [7, 8]}
    notes.priorities = {7: 5}
    assert _handed_out(ReadyScheduler(), notes, 9) == [2, 7, 0, 8, 9]


def test_among_equally_urgent_ones_the_own_priority_counts():
    notes = Notes()
    notes.graph = {name: [] for name in range(6)}
    notes.graph[9] = list(range(6))
    notes.priorities = {9: 100, **{name: name % 3 for name in range(6)}}
    assert _handed_out(ReadyScheduler(), notes, 9) == [5, 2, 4, 1, 3, 0, 9]


def test_equal_priorities_keep_the_order_of_adding():
    scheduler = ReadyScheduler()
    for name in "cab":
        scheduler.add_task(task_id=name, worker="w", family="Noted", runnable=True)
    handed_out = [scheduler.get_work(worker="w")["task_id"] for _ in range(4)]
    assert handed_out == ["c", "a", "b", None]


def _handed_out(scheduler: ReadyScheduler, notes: Notes, root: int) -> list[int]:
    """The tasks in the order in which a worker of one process would get them."""
    factory = ThreadedFactory()
    worker = factory.create_worker(scheduler, 1)
    with worker:
        worker.add(Noted(book=notes.number, name=root))
        order = []
        while (name := scheduler.get_work(worker=worker._id)["task_id"]) is not None:
            task = worker._scheduled_tasks[name]
            order.append(task.name)
            scheduler.add_task(worker=worker._id, task_id=name, status="DONE", family="Noted")
    return order


def test_a_failure_is_final_for_the_run():
    notes = Notes()
    notes.graph = {0: [], 1: [0], 2: []}
    notes.failing = {0}
    outcome = build(notes, 1, 2)
    assert notes.started().count(0) == 1
    assert outcome.status.name == "FAILED"
    assert set(notes.started()) == {0, 2}


def test_a_task_that_ends_incomplete_has_failed(monkeypatch):
    notes = Notes()
    notes.graph = {0: [], 1: [0]}
    monkeypatch.setattr(Noted, "complete", lambda self: False)
    outcome = build(notes, 1)
    assert outcome.status.name == "FAILED"
    assert notes.started() == [0]


def test_requirements_that_cannot_be_told_stop_nothing_else():
    notes = Notes()
    notes.graph = {0: [], 1: []}
    outcome = build_tasks(Broken(book=notes.number, name=5), Noted(book=notes.number, name=1))
    assert outcome.status.name == "SCHEDULING_FAILED"
    assert notes.started() == [1]


def test_an_external_task_that_is_missing_is_never_run():
    notes = Notes()
    outcome = build_tasks(NeedsExternal(book=notes.number, name=0))
    assert outcome.status.name == "MISSING_EXT"
    assert notes.log == []


def test_nothing_to_do_is_a_success():
    notes = Notes()
    notes.done = {0}
    assert build(notes, 0).status.name == "SUCCESS"


@pytest.mark.usefixtures("no_thread_leaks")
def test_three_hundred_wait_in_threads_of_one_process():
    notes = Notes()
    notes.graph = {**{name: [] for name in range(300)}, 999: list(range(300))}
    notes.holding = set(range(300))
    before = threading.active_count()
    builder = threading.Thread(target=build, args=(notes, 999), kwargs={"workers": 300})
    builder.start()
    deadline = time.monotonic() + 60
    while len(notes.log) < 300:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # One for each, the builder, and the worker's sign of life.
    assert threading.active_count() - before == 302
    assert multiprocessing.active_children() == []
    notes.hold.set()
    builder.join()
    assert notes.done == set(notes.graph)


def test_a_resource_is_used_by_as_many_as_there_are():
    """Luigi's resources: one of each, unless its configuration says more."""
    notes = Notes()
    scarce = [Scarce(book=notes.number, name=name) for name in range(5)]
    others = [Noted(book=notes.number, name=name) for name in range(10, 15)]
    outcome = build_tasks(*scarce, *others, workers=8)
    assert outcome.status.name == "SUCCESS"
    users = [(what, name) for what, name in notes.log if name < 10]
    assert len(users) == 10
    for started, ended in zip(users[::2], users[1::2], strict=True):
        assert started == ("start", ended[1])


def test_no_more_than_asked_run_at_once():
    notes = Notes()
    notes.graph = {**{name: [] for name in range(9)}, 99: list(range(9))}
    notes.holding = set(range(9))
    builder = threading.Thread(target=build, args=(notes, 99), kwargs={"workers": 3})
    builder.start()
    deadline = time.monotonic() + 60
    while len(notes.log) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(notes.log) == 3
    notes.hold.set()
    builder.join()
    check(notes)
