"""The base task: what must exist. It never computes; the work is a job.

A task says its inputs and significant parameters. Its identity is the recipe key, never Luigi's
task_id, which knows nothing of what lies upstream.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import luigi

from pipelines.errors import Undecided
from pipelines.runners.states import Kind
from pipelines.session import current
from pipelines.target import ArtifactTarget
from registry.artifacts.attempt import JobSpec, RecipeRecord
from registry.artifacts.key import Recipe
from registry.artifacts.layout import manifest_path
from registry.artifacts.manifest import Reference
from registry.errors import PenstockError
from registry.reports import reports
from registry.usecase import UseCaseSettings, load_usecase


class StepTask(luigi.Task):
    """A step of a use case on a logical date."""

    usecase = luigi.Parameter(description="folder below usecases/, for example flights")
    date = luigi.DateParameter(description="logical date, YYYY-MM-DD")
    changes: dict[str, Any] = luigi.DictParameter(
        default={}, description='hyperparameters, e.g. {"lightgbm": {"num_leaves": 15}}'
    )

    #: Failed jobs are tried again by the dispatcher, which knows why they failed.
    retry_count = 1

    @classmethod
    @functools.cache
    def get_params(cls) -> list[tuple[str, luigi.Parameter[Any]]]:
        """Luigi's, looked up once for each class: it searches the class at every call."""
        found: list[tuple[str, luigi.Parameter[Any]]] = super().get_params()  # type: ignore[no-untyped-call]
        return found

    @property
    def settings(self) -> UseCaseSettings:
        """The settings of the use case."""
        return load_usecase(self.usecase)

    @property
    def label(self) -> str:
        """How people read this step: "train flights 2013-06-30 lightgbm"."""
        return f"{type(self).__name__.lower()} {self.usecase} {self.date}"

    @property
    def priority(self) -> int:  # type: ignore[override]  # luigi reads it, and never sets it
        """What Luigi starts first among the steps that are ready."""
        return current().order.priority(self.date)

    def sibling(self, kind: type[StepTask], **parameters: Any) -> Any:
        """A step of another kind for the same use case, date, changes and, if it has one, horizon."""
        own = {"usecase": self.usecase, "date": self.date, "changes": self.changes}
        if issubclass(kind, AtHorizon):
            own["horizon"] = getattr(self, "horizon", "")
        return kind(**{**own, **parameters})

    def foreseen(self) -> list[luigi.Task]:
        """What this step needs as far as is known now: `requires`, and what was decided since."""
        return list(self.requires())  # type: ignore[no-untyped-call]

    def on_success(self) -> None:
        """Count the step as done."""
        current().done.append(self.label)

    def on_failure(self, exception: BaseException) -> str:
        """Remember the failure for the end of the run; Luigi keeps the text."""
        error = (
            exception
            if isinstance(exception, PenstockError)
            else PenstockError(f"{self.label} failed", f"{type(exception).__name__}: {exception}")
        )
        session = current()
        session.failures.append(error)
        session.observer.failed(self.label, error)
        if error.kind != Kind.STOPPED:  # somebody asked for that
            reports.report(f"{self.label} failed", exception, kind=error.kind, run=session.run)
        return str(error)


class AtHorizon(StepTask):
    """A step at one of the use case's horizons: the moments at which it predicts."""

    horizon = luigi.Parameter(default="", description="one that the use case declares, or its own")

    @property
    def settings(self) -> UseCaseSettings:
        """The settings of the use case as they hold at the horizon."""
        return load_usecase(self.usecase).at(self.horizon)

    @property
    def algorithm_names(self) -> set[str]:
        """The names of the use case's algorithms, those of other horizons included."""
        return load_usecase(self.usecase).algorithm_names

    @property
    def model(self) -> str:
        """What the horizon's model is called where aliases are: "flights-dayahead"."""
        return self.settings.model(self.horizon)

    @property
    def label(self) -> str:
        """With the name of the horizon, unless it is the use case's own."""
        return f"{super().label} {self.horizon}".rstrip()

    def at_horizon(self) -> dict[str, str]:
        """The significant parameter; absent at the use case's own horizon."""
        return {"horizon": self.horizon} if self.horizon else {}


class ArtifactTask(StepTask):
    """A step whose result is an artifact, made by the job `jobs/<kind>.py`."""

    kind: ClassVar[str]
    family: ClassVar[str]

    def inputs(self) -> Mapping[str, ArtifactTask | Reference | Sequence[ArtifactTask]]:
        """What the job reads, by role; a sequence keeps its order."""
        return {}

    def parameters(self) -> Mapping[str, Any]:
        """The significant parameters."""
        return {}

    def externals(self) -> Mapping[str, str]:
        """Snapshots of external data."""
        return {}

    def requires(self) -> list[luigi.Task]:
        return list(_tasks(self.inputs().values()))

    def describe(self) -> Recipe:
        """The recipe before retractions. Raises Undecided while a pin is missing."""
        return Recipe(
            family=self.family,
            name=self.usecase,
            version=self.settings.version(self.kind),
            parameters=self.parameters(),
            inputs={role: _key(value) for role, value in self.inputs().items()},
            externals=self.externals(),
            date=self.date.isoformat(),
        )

    @property
    def recipe(self) -> Recipe:
        """The recipe now, retractions included."""
        return current().recipe(self)

    def output(self) -> ArtifactTarget | list[ArtifactTarget]:
        try:
            return ArtifactTarget(self.recipe)
        except Undecided:
            return []

    def complete(self) -> bool:
        try:
            return current().index.has(self.recipe)
        except Undecided:
            return False

    def run(self) -> None:
        """Have the job make the artifact, or find that somebody did."""
        session = current()
        session.begin()
        self.decide()
        if session.index.has(self.recipe):  # The decision led to what was there before.
            return
        manifest = session.dispatcher.make(self.spec(), self.label, self.size)
        session.index.add(manifest_path(self.recipe), manifest)
        session.made.append(manifest.key)
        session.observer.committed(self.label, manifest)

    def decide(self) -> None:
        """Fix what the recipe hangs on; steps without a pin have nothing to do."""

    @property
    def size(self) -> str:
        """The size that the use case declares; what earlier jobs needed comes before it."""
        return self.settings.sizes.get(self.kind, "s")

    def spec(self) -> JobSpec:
        """The job's specification: recipe, and where its inputs lie with their digests."""
        references = {role: _reference(value) for role, value in self.inputs().items()}
        return JobSpec(self.kind, RecipeRecord.of(self.recipe), references)

    def reference(self) -> Reference:
        """This artifact as others name it; it must exist."""
        return current().index.manifest_of(self.recipe).reference(manifest_path(self.recipe))


def _tasks(values: Any) -> Iterator[ArtifactTask]:
    for value in values:
        if isinstance(value, ArtifactTask):
            yield value
        elif not isinstance(value, Reference):
            yield from value


def _key(value: ArtifactTask | Reference | Sequence[ArtifactTask]) -> str | tuple[str, ...]:
    if isinstance(value, Reference):
        return value.key
    if isinstance(value, ArtifactTask):
        return value.recipe.key
    return tuple(task.recipe.key for task in value)


def _reference(
    value: ArtifactTask | Reference | Sequence[ArtifactTask],
) -> Reference | list[Reference]:
    if isinstance(value, Reference):
        return value
    if isinstance(value, ArtifactTask):
        return value.reference()
    return [task.reference() for task in value]
