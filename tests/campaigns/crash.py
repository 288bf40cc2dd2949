"""Rounds in which a writer is killed at a named crash point, alone or with a rival.

Whatever the point: a reader never sees a part of an artifact, at most one manifest and one
decision are there, and the next run completes what was begun.
"""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.artifacts.attempt import attempts_of
from registry.artifacts.fetch import fetch, find_manifest, read_manifest
from registry.crashpoints import POINTS
from registry.errors import NotFound
from tests.campaigns.writer import ABOUT, aliases_of, files_of, run, store_of, write
from tests.races import PATIENCE, processes
from tests.registry.makers import a_recipe

#: The points that a writer passes, each with the hits that can be told apart: the store is written
#: to for the attempt, two files, the manifest and the decision.
CASES: tuple[str, ...] = tuple(
    f"{point}:{nth}"
    for point in POINTS
    if point.split(".")[0] in ("attempt", "commit", "publish", "store")
    for nth in (range(1, 6) if point.startswith("store.") else (1,))
)


@dataclass(frozen=True)
class Plan:
    """Where the writer of a round dies, and whether a rival writes at the same time."""

    case: str
    rival: bool

    @property
    def point(self) -> str:
        """The crash point, without the number of the hit."""
        return self.case.partition(":")[0]


def plan_of(number: int, draw: random.Random) -> Plan:
    """The plan of a round: every second one has a rival; the first rounds walk every case alone."""
    if number < 2 * len(CASES) and number % 2 == 0:
        return Plan(CASES[number // 2], rival=False)
    return Plan(draw.choice(CASES), rival=number % 2 == 1)


def play(plan: Plan, folder: Path) -> Counter[str]:
    """Play one round in the new `folder`; the crash points that were hit.

    Raises:
        AssertionError: something was lost, doubled or seen by halves.
    """
    folder.mkdir()
    log = folder / "crashes"
    at = {"PENSTOCK_CRASH_AT": plan.case, "PENSTOCK_CRASH_LOG": str(log)}
    doomed = _start(folder, "doomed", at)
    rival = _start(folder, "rival") if plan.rival else None
    reader = Reader(folder)
    reader.start()
    died = _end(doomed) == -signal.SIGKILL
    survived = rival is not None and _end(rival) == 0
    reader.stop()
    hits = Counter(log.read_text().split() if log.exists() else [])
    assert died == (hits[plan.point] == 1), "killed elsewhere than at the point"
    if rival is None:
        assert died, f"{plan.case} was not reached"
    else:
        assert survived, "the rival did not complete"
    check_whole(folder)
    complete(folder)
    return hits


def _start(folder: Path, writer: str, env: Mapping[str, str] | None = None) -> Any:
    child = processes().Process(target=run, args=(env or {}, folder, writer))
    child.start()
    return child


def _end(child: Any) -> int | None:
    child.join(PATIENCE)
    code: int | None = child.exitcode
    return code


def complete(folder: Path) -> None:
    """Run again, twice; then everything is there exactly once."""
    store = store_of(folder)
    before = find_manifest(store, a_recipe())
    number = len(attempts_of(store, a_recipe().key)) + 1
    done, decision = write(folder, "after", number)
    again, same = write(folder, "later", number + 1)
    assert before is None or before == done.manifest, "a committed artifact was replaced"
    assert again.manifest == done.manifest
    assert same == decision
    assert list(store.list("manifests/")) == [done.path]
    check_whole(folder)
    aliases = aliases_of(folder)
    assert aliases.log.entries(*ABOUT) == [decision]
    assert decision.live == done.reference
    head = aliases.heads.read(*ABOUT)
    assert head is not None
    assert (head.revision, head.live) == (1, done.reference)


def check_whole(folder: Path) -> None:
    """What a reader finds now is whole: manifests with all files of one writer, live artifacts."""
    store = store_of(folder)
    for path in store.list("manifests/"):
        manifest = read_manifest(store, path)
        place = fetch(store, manifest.reference(path), folder / "cache")
        found = {file.path: (place / file.path).read_bytes() for file in manifest.files}
        assert found == files_of(manifest.producer.host)
    for entry in aliases_of(folder).log.entries(*ABOUT):
        assert entry.live is not None
        fetch(store, entry.live, folder / "cache")
    head = aliases_of(folder).heads.read(*ABOUT)
    if head is not None:
        assert head.live is not None
        fetch(store, head.live, folder / "cache")
    try:
        attempts_of(store, a_recipe().key)
    except NotFound:
        raise AssertionError("an attempt vanished") from None


class Reader(threading.Thread):
    """Looks at everything over and over while the writers write."""

    def __init__(self, folder: Path) -> None:
        super().__init__(name="reader")
        self._folder = folder
        self._stop_asked = threading.Event()
        self._failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._stop_asked.wait(0.002):
                check_whole(self._folder)
        except BaseException as failure:  # noqa: BLE001 (raised by `stop` in the caller's thread)
            self._failure = failure

    def stop(self) -> None:
        """End the looking; raises what it saw."""
        self._stop_asked.set()
        self.join()
        if self._failure is not None:
            raise self._failure
