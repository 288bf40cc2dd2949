"""A use case that costs nothing: the real tasks, keys, attempts and commits, with tiny jobs.

`World` keeps everything in memory, and the stub runner does the jobs in this process. `job` is
what they do; `tests.pipelines.smalljob` does the same in processes of their own.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipelines.events import Silent
from pipelines.plan import PlannedStep, plan
from pipelines.run import Result, root_task, run
from pipelines.runners.machine import AT_ONCE, Script, StubMachine, Work
from pipelines.runners.protocol import AttemptReference
from pipelines.runners.stub import StubRunner
from pipelines.session import Session
from pipelines.task import StepTask
from registry.aliases import Aliases
from registry.aliases.decision import DecisionLog
from registry.aliases.heads.memory import MemoryHeads
from registry.artifacts.attempt import Attempt
from registry.artifacts.commit import Output, commit
from registry.artifacts.fetch import read_manifest
from registry.artifacts.manifest import Manifest, Reference
from registry.artifacts.provenance import producer_of
from registry.artifacts.retract import retract
from registry.artifacts.store import Store, open_store
from registry.artifacts.store.memory import named_memory
from registry.errors import PenstockError
from registry.settings import Settings
from registry.usecase import STEPS, Gate, UseCaseSettings

NAME = "small"
DAY = dt.date(2020, 1, 10)
ALGORITHMS: Mapping[str, Mapping[str, Any]] = {"lightgbm": {"leaves": 3}, "catboost": {"depth": 2}}


def a_usecase(**changes: Any) -> UseCaseSettings:
    """Two algorithms, two days of window and one of history."""
    fields: dict[str, Any] = {
        "name": NAME,
        "versions": dict.fromkeys(STEPS, 1),
        "first_date": dt.date(2020, 1, 1),
        "last_date": dt.date(2020, 1, 31),
        "snapshot": lambda: {"source": "snapshot-1"},
        "algorithms": ALGORITHMS,
        "lookback_days": 1,
        "window_days": 2,
        "gate": Gate(min_auc_gain=0.02, max_log_loss_regression=0.02),
    }
    return UseCaseSettings(**{**fields, **changes})


def evaluated(log_loss: float, **changes: float) -> dict[str, float]:
    """The metrics of an evaluation; the base rate has a log loss of 0.6 and an AUC of 0.5."""
    base = {"auc": 0.8, "base_auc": 0.5, "base_log_loss": 0.6}
    return {**base, "log_loss": log_loss, **changes}


#: What the evaluation of a model tells, given the model's manifest.
Score = Callable[[Manifest], dict[str, float]]


def by_algorithm(model: Manifest) -> dict[str, float]:
    """LightGBM is the better one."""
    return evaluated({"lightgbm": 0.50, "catboost": 0.55}[model.parameters["algorithm"]])


def write_job(store: Store, attempt: Attempt, out: Path, score: Score) -> dict[str, float]:
    """Write the files of an attempt's artifact, a function of its recipe; returns metrics."""
    spec = attempt.spec
    (out / "made.txt").write_text(f"{spec.kind} {attempt.key}\n")
    (out / "more.txt").write_text("a second file\n" * 10)
    if spec.kind == "train":
        return {"iterations": 10.0}
    model = spec.references.get("model")
    if spec.kind != "evaluate":
        return {}
    assert isinstance(model, Reference)
    return score(read_manifest(store, model.path))


def small_work(score: Score = by_algorithm) -> Work:
    """Work for the stub runner: make and commit the artifact of any step."""

    def work(attempt: Attempt, reference: AttemptReference) -> None:
        store = open_store(reference.root)
        with TemporaryDirectory(prefix="penstock-") as folder:
            metrics = write_job(store, attempt, Path(folder), score)
            output = Output(Path(folder), metrics=metrics, resources={"wall_s": 2.0}, rows=10)
            commit(store, attempt, output, producer_of(attempt))

    return work


class Recorder(Silent):
    """An observer that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def waiting(self, step: str, reason: str) -> None:
        self.told.append(("waiting", step, reason))

    def started(self, step: str, attempt: int, size: str) -> None:
        self.told.append(("started", step, str(attempt), size))

    def retried(self, step: str, reason: str) -> None:
        self.told.append(("retried", step, reason))

    def committed(self, step: str, manifest: Manifest) -> None:
        self.told.append(("committed", step, manifest.key))

    def decided(self, step: str, outcome: str) -> None:
        self.told.append(("decided", step, outcome))

    def failed(self, step: str, error: PenstockError) -> None:
        self.told.append(("failed", step, str(error)))

    def steps(self, event: str) -> list[str]:
        """The steps of which `event` was told, in order."""
        return [told[1] for told in self.told if told[0] == event]


class World:
    """Store, heads and machine in memory, seen by any number of sessions."""

    def __init__(self, var: Path, score: Score = by_algorithm) -> None:
        self.url = f"memory://{uuid.uuid4().hex}"
        self.store: Store = named_memory(self.url.removeprefix("memory://"))
        self.aliases = Aliases(DecisionLog(self.store), MemoryHeads())
        self.machine = StubMachine()
        self.work = small_work(score)
        self.env = {"PENSTOCK_STORE": self.url, "PENSTOCK_VAR": str(var), "PENSTOCK_WHO": "tests"}

    def session(self, script: Callable[[Attempt], Script] = lambda _: AT_ONCE) -> Session:
        """A new pipeline on this world."""
        return Session(
            Settings.load(self.env),
            store=self.store,
            runner=StubRunner(self.work, script, self.machine),
            aliases=Aliases(DecisionLog(self.store), self.aliases.heads),
            observer=Recorder(),
        )

    def run(
        self,
        date: dt.date = DAY,
        changes: Mapping[str, Any] | None = None,
        script: Callable[[Attempt], Script] = lambda _: AT_ONCE,
    ) -> Result:
        """Run the whole use case for a date."""
        return run(self.session(script), [root_task(NAME, date, changes)])

    def run_steps(self, *roots: StepTask) -> list[str]:
        """The labels of the steps that running `roots` committed."""
        session = self.session()
        run(session, roots)
        return told(session).steps("committed")

    def plan(
        self, date: dt.date = DAY, changes: Mapping[str, Any] | None = None
    ) -> list[PlannedStep]:
        """What running the use case for a date would do."""
        return plan(self.session(), [root_task(NAME, date, changes)])

    def committed(self, date: dt.date = DAY, changes: Mapping[str, Any] | None = None) -> list[str]:
        """Run the use case; the labels of the steps that committed, sorted."""
        return sorted(self.run_steps(root_task(NAME, date, changes)))

    def manifests(self, prefix: str = "") -> list[Manifest]:
        """Every artifact below `manifests/<prefix>`, verified."""
        paths = self.store.list(f"manifests/{prefix}")
        return [read_manifest(self.store, path) for path in paths]

    def one(self, family: str, date: dt.date = DAY, **parameters: Any) -> Manifest:
        """The newest epoch of the artifact of a family and date with these parameters."""
        found = [
            manifest
            for manifest in self.manifests(f"{family}/{NAME}/")
            if manifest.date == date.isoformat()
            and parameters.items() <= manifest.parameters.items()
        ]
        return max(found, key=lambda manifest: manifest.epoch)

    def retract(self, manifest: Manifest) -> None:
        """Withdraw an artifact."""
        retract(self.store, manifest.key, who="tests", why="wrong")

    def reference(self, manifest: Manifest) -> Reference:
        """How others name an artifact of this world."""
        paths = self.store.list("manifests/")
        path = next(p for p in paths if p.endswith(f"--{manifest.key[:16]}.json"))
        return manifest.reference(path)

    def attempts(self) -> dict[str, int]:
        """How many attempts each key had."""
        counts: dict[str, int] = {}
        for path in self.store.list("attempts/"):
            key, name = path.split("/")[1:]
            if name.endswith(".json") and not name.endswith(".end.json"):
                counts[key] = counts.get(key, 0) + 1
        return counts


def told(session: Session) -> Recorder:
    """The recorder of a session of `World`."""
    assert isinstance(session.observer, Recorder)
    return session.observer


def labels(planned: Sequence[PlannedStep], action: str) -> list[str]:
    """The steps of a plan with this action, sorted."""
    return sorted(step.step for step in planned if step.action == action)
