"""Rounds in which a pipeline, its shims or its jobs are killed at a named crash point.

Whatever the point: readers see whole artifacts only, the next run completes and takes up the jobs
that still run; then there is one manifest for each key, one verdict, and a head in step.
"""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.runners.folder import JobFolder
from pipelines.runners.shim import lock_is_held
from registry import crashpoints
from registry.artifacts.attempt import Attempt, attempts_of, is_record, read_attempt
from registry.artifacts.fetch import fetch, read_manifest
from tests.campaigns.pipeline import (
    ABOUT,
    SIZES,
    aliases_of,
    run_pipeline,
    settings_of,
    store_of,
)
from tests.races import PATIENCE, processes

#: The points that a run passes: pipeline, shim or job.
POINTS: tuple[str, ...] = tuple(
    point
    for point in crashpoints.POINTS
    if point.startswith(
        ("attempt.", "commit.", "dispatch.", "publish.", "runner.", "shim.", "store.")
    )
)

#: Points that jobs and shims pass as well as, or instead of, pipelines.
_IN_JOBS = ("commit", "shim", "store")
_FAULTS = ("lost", "exists", "mixed")


@dataclass(frozen=True)
class Plan:
    """Where a pipeline dies, what it was making, and what else goes wrong."""

    point: str
    nth: int
    root: str
    rival: bool
    pause: float
    faults: str

    @property
    def crash(self) -> dict[str, str]:
        """The environment of the doomed pipeline, which its jobs inherit."""
        return {"PENSTOCK_CRASH_AT": f"{self.point}:{self.nth}"}

    @property
    def env(self) -> dict[str, str]:
        """The environment of every pipeline."""
        return {"SMALLJOB_PAUSE": str(self.pause), "SMALLJOB_FAULTS": self.faults}

    @property
    def kills_jobs(self) -> bool:
        """Whether the point lies where jobs and shims come by."""
        return self.point.startswith(_IN_JOBS)


def plan_of(number: int, draw: random.Random) -> Plan:
    """The plan of a round: the first walk every point; later ones draw, every second a rival."""
    if number < len(POINTS):
        point = POINTS[number]
        root = "publish" if point.startswith("publish.") else "ingest"
        return Plan(point, 1, root, rival=False, pause=0.1, faults="")
    point = draw.choice(POINTS)
    many = point.startswith(("store.", "dispatch.", "attempt.", "runner."))  # by one process
    root = "publish" if point.startswith("publish.") else draw.choice(list(SIZES))
    faults = draw.choice(_FAULTS) if draw.random() < 0.25 else ""
    return Plan(
        point,
        draw.randint(1, SIZES[root]) if many else 1,
        root,
        rival=number % 2 == 1,
        pause=draw.choice([0.0, 0.0, 0.3]),
        faults=f"mixed:{draw.getrandbits(32)}" if faults == "mixed" else faults,
    )


@dataclass
class Tally:
    """What the rounds of a campaign came to."""

    rounds: int = 0
    rivals: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    taken_up: int = 0


def play(plan: Plan, folder: Path, tally: Tally) -> None:
    """Play one round in the new `folder`.

    Raises:
        AssertionError: something was lost, doubled or seen by halves.
    """
    folder.mkdir()
    log = folder / "crashes"
    doomed = _start(folder, plan, {**plan.crash, "PENSTOCK_CRASH_LOG": str(log)})
    rival = _start(folder, plan) if plan.rival else None
    reader = Reader(folder)
    reader.start()
    code = _end(doomed)
    running = _running(folder)
    counts = {attempt.key: _count(folder, attempt.key) for attempt in running}
    completed = _end(_start(folder, plan))
    if rival is not None:
        _end(rival)
    reader.stop()
    hits = Counter(log.read_text().split() if log.exists() else [])
    _check_crash(plan, code, hits)
    assert completed == 0 or (plan.rival and plan.kills_jobs), f"the next run ended {completed}"
    if completed:  # It took up attempts whose jobs were doomed as often as it would try.
        assert _end(_start(folder, plan)) == 0
    if not plan.kills_jobs:
        again = {key: _count(folder, key) for key in counts}
        assert again == counts, "a job that was running was made again"
        tally.taken_up += len(counts)
    check_complete(folder, plan)
    tally.rounds += 1
    tally.rivals += plan.rival
    tally.hits.update(hits.keys())


def _start(folder: Path, plan: Plan, env: dict[str, str] | None = None) -> Any:
    words = ({**plan.env, **(env or {})}, folder, plan.root)
    child = processes().Process(target=run_pipeline, args=words)
    child.start()
    return child


def _end(child: Any) -> int:
    child.join(PATIENCE)
    code = child.exitcode
    assert code is not None, "a pipeline hangs"
    child.close()
    return int(code)


def _check_crash(plan: Plan, code: int, hits: Counter[str]) -> None:
    """The point was reached, and nothing else ended the pipeline."""
    assert set(hits) <= {plan.point}
    if plan.rival:
        return
    assert hits[plan.point], f"{plan.point}:{plan.nth} was not reached"
    if not plan.kills_jobs:
        assert code == -signal.SIGKILL


def _running(folder: Path) -> list[Attempt]:
    """The attempts whose jobs run, and will be heard of again."""
    store, jobs = store_of(folder), settings_of(folder).var / "jobs"
    records = [read_attempt(store, p) for p in store.list("attempts/") if is_record(p)]
    return [a for a in records if lock_is_held(str(JobFolder(jobs, a).lock))]


def _count(folder: Path, key: str) -> int:
    return len(attempts_of(store_of(folder), key))


def check_whole(folder: Path) -> set[str]:
    """What a reader finds now is whole; the keys of the artifacts."""
    store = store_of(folder)
    keys = []
    for path in store.list("manifests/"):
        manifest = read_manifest(store, path)
        fetch(store, manifest.reference(path), folder / "cache")
        keys.append(manifest.key)
    assert len(keys) == len(set(keys)), "two manifests for one key"
    aliases = aliases_of(folder)
    for entry in aliases.log.entries(*ABOUT):
        assert entry.live is not None
        fetch(store, entry.live, folder / "cache")
    head = aliases.heads.read(*ABOUT)
    if head is not None:
        assert head.live is not None
        fetch(store, head.live, folder / "cache")
    return set(keys)


def check_complete(folder: Path, plan: Plan) -> None:
    """Everything is there exactly once, and another run finds nothing to do."""
    assert len(check_whole(folder)) == SIZES[plan.root]
    before = sorted(store_of(folder).list(""))
    assert _end(_start(folder, plan)) == 0
    assert sorted(store_of(folder).list("")) == before
    aliases = aliases_of(folder)
    entries = aliases.log.entries(*ABOUT)
    assert [entry.action for entry in entries] == ["publish"] * (plan.root == "publish")
    head = aliases.heads.read(*ABOUT)
    assert (head and head.revision) == (entries[-1].revision if entries else None)


class Reader(threading.Thread):
    """Looks at everything over and over while pipelines run."""

    def __init__(self, folder: Path) -> None:
        super().__init__(name="reader")
        self._folder = folder
        self._stop_asked = threading.Event()
        self._failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._stop_asked.wait(0.05):
                check_whole(self._folder)
        except BaseException as failure:  # noqa: BLE001 (raised by `stop` in the caller's thread)
            self._failure = failure

    def stop(self) -> None:
        """End the looking; raises what it saw."""
        self._stop_asked.set()
        self.join()
        if self._failure is not None:
            raise self._failure
