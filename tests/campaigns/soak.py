"""Soak: a service that is asked and reloaded for long; whether it grows, and whether it errs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.loadclient import Load
from tests.serving.conftest import Trained
from tests.serving.models import NUMERIC, row
from tests.serving.moody import ENVIRONMENT
from tests.serving.rig import Publisher, Service, descendants, eventually, name_of, service

CONNECTIONS = 4
#: Samples at the start that do not count: allocators and caches still fill.
WARM_UP = 2


class Soak:
    """One service and its changing models."""

    def __init__(self, running: Service, publisher: Publisher, bundles: dict[str, Trained]) -> None:
        self.service = running
        self.requests = 0
        self.reloads = 0
        #: Bytes of the processes that live on, after each reload.
        self.samples: list[int] = []
        self._publisher = publisher
        self._bundles = [bundles[f"lightgbm-{number}"] for number in (1, 2, 3)]
        self._bodies = self._bundles[0].bodies
        self._answers: dict[str, list[float]] = {}

    def publish(self) -> int:
        """Point the alias at the next model; the revision."""
        bundle = self._bundles[self.reloads % len(self._bundles)]
        reference = self._publisher.commit("flights", bundle.folder)
        self._answers[reference.version[:16]] = bundle.answers
        return self._publisher.point("flights", reference).revision

    def turn(self, seconds: float) -> None:
        """Reload under load, then go on asking; compare every answer with the model it names."""
        begun = time.monotonic()
        self.reloads += 1
        with Load(self.service.address, self._bodies, connections=CONNECTIONS) as load:
            self.service.wait_for(self.publish())
            load.wait(50)
            time.sleep(max(0.0, begun + seconds - time.monotonic()))
        assert load.report.failed == []
        for note in load.report.notes:
            assert note.body["predictions"] == [self._answers[note.version][note.request]]
        for connection in range(CONNECTIONS):
            revisions = load.report.revisions(connection)
            assert revisions == sorted(set(revisions))
        self.requests += len(load.report.notes)
        eventually("the old ones' end", lambda: len(self.service.processes("pen:flights")) == 2)
        self.samples.append(self._memory())

    def _memory(self) -> int:
        pid = self.service.process.pid
        kept = [pid, *(p for p in descendants(pid) if not name_of(p).startswith("pen:flights"))]
        return sum(map(_resident, kept))

    @property
    def slope(self) -> float:
        """Bytes by which supervisor, forkserver and gateway grow with each reload."""
        settled = self.samples[WARM_UP:]
        return statistics.linear_regression(range(len(settled)), settled).slope


def _resident(pid: int) -> int:
    fields = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(f.split()[1]) * 1024 for f in fields if f.startswith("VmRSS"))


@contextmanager
def soak(folder: Path, bundles: dict[str, Trained], leak: int = 0) -> Iterator[Soak]:
    """Serve; with `leak`, a gateway that keeps so many bytes of each link."""
    publisher = Publisher(folder)
    publisher.environment.update(ENVIRONMENT)
    if leak:
        publisher.environment["LEAK_BYTES"] = str(leak)
    begun = Soak(None, publisher, bundles)  # type: ignore[arg-type]
    begun.publish()
    with service(publisher, folder / "service", "flights") as running:
        begun.service = running
        running.example = row(NUMERIC, 1)
        yield begun
