"""Workers that die or hang at boundaries of frames while a service is under load.

Where the faults strike is `tests/serving/moods/sitecustomize.py`; here are the service that they hit
and what must be true all the time: every request is answered, rightly, and nothing is left.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.loadclient import Load
from tests.serving.conftest import Trained
from tests.serving.moody import ENVIRONMENT
from tests.serving.rig import Publisher, Service, alive, eventually, service

CONNECTIONS = 6


@dataclass(frozen=True)
class Hit:
    """A worker that was hit: at which boundary, its pid, and when, in Unix seconds."""

    boundary: str
    pid: int
    when: float


class Patient:
    """A service whose workers are hit again and again."""

    def __init__(self, running: Service, log: Path, bundle: Trained) -> None:
        self.service = running
        self.answered = 0
        self._log = log
        self._bundle = bundle

    @property
    def hits(self) -> list[Hit]:
        """All hits so far."""
        rows = (line.split() for line in self._log.read_text().splitlines())
        return [Hit(boundary, int(pid), float(when)) for boundary, pid, when in rows]

    @property
    def boundaries(self) -> Counter[str]:
        """How often each boundary was hit."""
        return Counter(hit.boundary for hit in self.hits)

    def bear(self, hits: int) -> None:
        """Ask until so many more workers were hit; every answer must come, and be right."""
        enough = len(self.hits) + hits
        bodies = self._bundle.bodies
        with Load(self.service.address, bodies, connections=CONNECTIONS) as load:
            eventually(f"{hits} hits", lambda: len(self.hits) >= enough)
            load.wait(CONNECTIONS)
        assert load.report.failed == []
        for note in load.report.notes:
            assert note.body["predictions"] == [self._bundle.answers[note.request]]
        self.answered += len(load.report.notes)

    def recover(self) -> None:
        """Wait until those that were hit are gone, and as many workers are there as should be."""
        eventually("their end", lambda: not any(alive(hit.pid) for hit in self.hits))
        eventually("workers", lambda: len(self.service.processes("pen:flights")) == 2)


@contextmanager
def patient(
    folder: Path, bundle: Trained, fault: str, *, every: float, **settings: Any
) -> Iterator[Patient]:
    """Serve `bundle` with workers that get the signal `fault` at most each `every` seconds."""
    log = folder / "hits"
    log.touch()
    publisher = Publisher(folder)
    faults = {"FAULT": fault, "FAULT_EVERY": str(every), "FAULT_LOG": str(log)}
    publisher.environment.update({**ENVIRONMENT, **faults})
    publisher.publish("flights", bundle.folder)
    # Every row passes a boundary: none is predicted in the gateway.
    given = {"serving_inline_rows": 0, **settings}
    with service(publisher, folder / "service", "flights", **given) as running:
        yield Patient(running, log, bundle)


def open_things(running: Service) -> dict[int, tuple[int, int]]:
    """Descriptors and mapped arenas of the processes that live on."""
    (gateway,) = running.processes("pen:gateway")
    return {pid: things(pid) for pid in (running.process.pid, gateway)}


def things(pid: int) -> tuple[int, int]:
    """Descriptors and mapped arenas of a process."""
    maps = Path(f"/proc/{pid}/maps").read_text().count("memfd:penstock")
    return len(list(Path(f"/proc/{pid}/fd").iterdir())), maps


def quiet(running: Service) -> dict[int, tuple[int, int]]:
    """`open_things`, once no client is connected any more."""
    line = 'pending_request_count{model="flights"} 0'
    eventually("quiet", lambda: line in running.get("/metrics").text)
    time.sleep(0.2)
    return open_things(running)
